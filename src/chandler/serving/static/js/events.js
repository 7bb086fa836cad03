// One stream of events for the browser, not one for each tab: a browser opens six connections to a host, no more.
// The tab that holds a lock listens and tells the others; when it goes, the next one takes over.
import { away, server, signedIn } from "./api.js";

const TYPES = ["source", "forecast", "job", "journal", "system", "resync"];
const listeners = new Map(TYPES.map((type) => [type, new Set()]));
const others = typeof BroadcastChannel === "function" ? new BroadcastChannel("chandler-events") : null;
let last = "";
let stream = null;

/** States of a job of which nothing more comes. */
export const ENDED = new Set(["finished", "stopped", "failed", "lost"]);

/** Hear of events, type -> what hears; answers what ends it. */
export function on(wanted) {
  const pairs = Object.entries(wanted);
  for (const [type, each] of pairs) listeners.get(type).add(each);
  return () => pairs.forEach(([type, each]) => listeners.get(type).delete(each));
}

function tell({ type, id, data }) {
  if (id) last = id;
  for (const each of [...listeners.get(type)]) each(data);
}

others?.addEventListener("message", (event) => tell(event.data));

function open() {
  if (stream || !signedIn.get() || !server.get().here) return;
  const mine = new EventSource(`/api/v1/events${last ? `?after=${encodeURIComponent(last)}` : ""}`);
  stream = mine;
  for (const type of TYPES) {
    mine.addEventListener(type, (event) => {
      const told = { type, id: event.lastEventId, data: event.data ? JSON.parse(event.data) : {} };
      tell(told);
      others?.postMessage(told);
    });
  }
  mine.onerror = () => {
    // Not the browser's own way of asking again: one loop for all of the page says when the server is back.
    mine.close();
    if (stream === mine) stream = null;
    if (signedIn.get()) away();
  };
}

function close() {
  stream?.close();
  stream = null;
}

/** Listen for all tabs, until this one is signed out. */
async function lead() {
  if (!signedIn.get()) return;
  await new Promise((done) => {
    const ends = [server.watch(({ here }) => (here ? open() : close())), signedIn.watch((yes) => yes || done(ends.forEach((end) => end())))];
    open();
  });
  close();
}

/** Begin: as the leader if no other tab is, otherwise when that one goes. */
export function listen() {
  addEventListener("pagehide", close);
  // Over plain HTTP from another machine a browser has no locks: then each tab listens for itself.
  const begin = () => (!navigator.locks || !others ? lead() : navigator.locks.request("chandler-events", lead));
  // A tab that is not signed in hears nothing, and would keep the others from hearing.
  signedIn.watch((yes) => yes && begin());
  if (signedIn.get()) begin();
  // Whoever was away cannot know what was missed, whether it leads or not.
  let here = true;
  server.watch((now) => {
    if (now.here && !here) tell({ type: "resync", id: "", data: {} });
    here = now.here;
  });
}
