// The one way to the server: errors as it words them, and patience while it is away.
import { store } from "./core.js";
import { texts } from "./texts.js";

const BASE = "/api/v1";
const LONGEST = 30;

/** Whether the server answers; `next`: seconds until it is asked again. */
export const server = store({ here: true, next: 0 });
/** Null until the first answer; false after a 401: the page then asks for the token. */
export const signedIn = store(null);

export class ApiError extends Error {
  constructor(status, error) {
    super(error?.message || texts.errors.unknown(status));
    this.status = status;
    this.code = error?.code ?? "";
    this.details = error?.details ?? null;
  }
}

let wake = null;
let back = null;

/** One loop asks for the server, later each time; everyone else waits for what it finds. */
export function away() {
  if (back) return back;
  back = (async () => {
    for (let wait = 1; ; wait = Math.min(LONGEST, wait * 2)) {
      for (let left = wait; left > 0; left--) {
        server.set({ here: false, next: left });
        const early = await new Promise((done) => {
          const timer = setTimeout(done, 1000, false);
          wake = () => (clearTimeout(timer), done(true));
        });
        if (early) break;
      }
      server.set({ here: false, next: 0 });
      try {
        const answer = await fetch(`${BASE}/health`, { cache: "no-store", signal: AbortSignal.timeout(5000) });
        if (answer.ok) break;
      } catch {
        // still away
      }
    }
    back = wake = null;
    server.set({ here: true, next: 0 });
  })();
  return back;
}

export const tryNow = () => wake?.();

export function query(fields) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") made.set(name, value);
  }
  const text = made.toString();
  return text ? `?${text}` : "";
}

/** The JSON of an answer (null for none); throws ApiError. A GET waits while the server is away, and goes once. */
export async function call(method, path, body, { signal, headers = {} } = {}) {
  if (!server.get().here) {
    if (method !== "GET") throw new ApiError(0, { code: "away", message: texts.errors.away });
    await back;
  }
  let answer;
  let text;
  try {
    answer = await fetch(BASE + path, {
      method,
      signal,
      headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await answer.text(); // a server that goes may have sent half of it
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const returned = away();
    if (method !== "GET") throw new ApiError(0, { code: "away", message: texts.errors.away });
    await returned;
    return call(method, path, body, { signal, headers });
  }
  return understood(answer.status, text);
}

function understood(status, text) {
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    // not JSON: the status says enough
  }
  if (status === 401) signedIn.set(false);
  else if (signedIn.get() === null) signedIn.set(true);
  if (status >= 400) throw new ApiError(status, value?.error);
  return value;
}

export const get = (path, fields = {}, options) => call("GET", path + query(fields), undefined, options);
export const post = (path, body, options) => call("POST", path, body, options);

const now = new Map();

/** A GET that several ask for in one go, as when an event comes in: it is sent once. */
export function together(path) {
  if (!now.has(path)) {
    now.set(path, get(path));
    setTimeout(() => now.delete(path), 0);
  }
  return now.get(path);
}

/** All pages of a list. */
export async function all(path, name, fields = {}) {
  const found = [];
  for (let cursor = null; ; ) {
    const answer = await get(path, { limit: 500, ...fields, cursor });
    found.push(...answer[name]);
    cursor = answer.next;
    if (!cursor) return found;
  }
}

/** Send a file as it is; `progress` hears the share that has gone out. */
export function upload(file, progress) {
  return new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${BASE}/uploads${query({ name: file.name })}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => {
      away();
      failed(new ApiError(0, { code: "away", message: texts.errors.away }));
    };
    request.onload = () => {
      try {
        done(understood(request.status, request.responseText));
      } catch (error) {
        failed(error);
      }
    };
    request.send(file);
  });
}

export async function signIn(token) {
  await post("/session", { token });
  signedIn.set(true);
}
