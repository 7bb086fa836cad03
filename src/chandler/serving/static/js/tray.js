// What runs now, and what failed last: on every page.
import { all, get, together } from "./api.js";
import { chartOf } from "./chart/address.js";
import { store, useStore } from "./core.js";
import { on } from "./events.js";
import { texts } from "./texts.js";
import { Progress, html, useEffect, useRef, useState } from "./ui.js";

const RUNNING = new Set(["waiting", "running", "preview", "reading", "queued", "stopping"]);

/** id -> {id, label, state, done, total, href, message} */
const things = store(new Map());

const change = (id, facts) => things.set((old) => new Map(old).set(id, { ...old.get(id), id, ...facts }));
const forget = (id) => things.set((old) => new Map([...old].filter(([one]) => one !== id)));

async function forecast({ id, state, done, total }) {
  const known = things.get().get(id);
  if (!RUNNING.has(state) && state !== "failed") return forget(id);
  change(id, { state, done, total });
  if (known?.label && state !== "failed") return;
  const found = await get(`/forecasts/${id}`, { limit: 1 }).catch(() => null);
  if (!found || !things.get().has(id)) return;
  const { symbols } = found.request;
  const href = symbols.length > 1 ? `/batch?ids=${id}` : `/chart?${chartOf(found.request, symbols[0])}`;
  change(id, { label: texts.tray.forecast(symbols[0], symbols.length), message: found.message, href });
}

async function source({ id, state }) {
  // A failure follows a reading; one that was there before is on the page of the data.
  if (state !== "reading" && !(state === "failed" && things.get().get(id)?.state === "reading")) return forget(id);
  change(id, { state, label: things.get().get(id)?.label ?? texts.tray.reading("…"), href: "/data" });
  const found = await get(`/sources/${id}`).catch(() => null);
  if (found && things.get().has(id)) change(id, { label: texts.tray.reading(found.name), message: found.message });
}

const RECENT = 86400;
const HOMES = { finetune: "/finetune", evaluate: "/judge", backtest: "/judge", calibrate: "/finetune", preflight: "/finetune" };
/** Jobs whose failure was put away here; a reload does not bring it back. */
const PUT_AWAY = "chandler.dismissed";

function dismissed() {
  try {
    return JSON.parse(localStorage.getItem(PUT_AWAY)) ?? [];
  } catch {
    return [];
  }
}

function dismiss(id) {
  forget(id);
  if (!id.startsWith("job_")) return;
  try {
    localStorage.setItem(PUT_AWAY, JSON.stringify([...dismissed(), id].slice(-50)));
  } catch {
    // a browser that keeps nothing: it is back after a reload
  }
}

function showJob(found) {
  const wrong = found.state === "failed" || found.state === "lost";
  // A preflight that failed says so where it was asked for.
  const old = wrong && (found.kind === "preflight" || Date.now() / 1000 - (found.ended ?? found.created) > RECENT || dismissed().includes(found.id));
  if (old || (!wrong && !RUNNING.has(found.state))) return forget(found.id);
  const home = HOMES[found.kind] ?? "/finetune";
  change(found.id, {
    state: found.state, label: texts.tray.job[found.kind]?.(found.name) ?? found.name, done: found.progress?.total ? Math.min(found.progress.done, 0.99 * found.progress.total) : null,
    total: found.progress?.total, message: found.message, href: found.kind === "preflight" ? home : `${home}?job=${found.id}`,
  });
}

// Asked about one at a time: events of a running job come faster than answers where a machine is busy.
const asked = new Map();
async function job({ id }) {
  if (asked.has(id)) return void asked.set(id, true);
  asked.set(id, false);
  try {
    const found = await together(`/jobs/${id}`).catch(() => null);
    if (found) showJob(found);
  } finally {
    const again = asked.get(id);
    asked.delete(id);
    if (again) job({ id });
  }
}

async function anew() {
  things.set(new Map());
  const [{ forecasts }, sources, { jobs }] = await Promise.all([get("/forecasts", { limit: 20 }), all("/sources", "sources"), get("/jobs", { limit: 30 })]);
  for (const one of jobs.reverse()) showJob(one);
  for (const one of forecasts) if (RUNNING.has(one.state)) forecast(one);
  for (const one of sources) if (one.state === "reading") source(one);
}

const quietly = (each) => (facts) => void Promise.resolve(each(facts)).catch(() => {});

let begun = false;
function begin() {
  if (!begun) {
    on({ forecast: quietly(forecast), source: quietly(source), job: quietly(job), resync: quietly(anew) });
  }
  begun = true;
  quietly(anew)();
}

export function Tray({ system }) {
  const [open, set] = useState(false);
  const box = useRef(null);
  const found = [...useStore(things).values()];
  const server = useStore(system);
  useEffect(begin, []);
  useEffect(() => {
    const away = (event) => (event.key === "Escape" || (event.type === "pointerdown" && !box.current.contains(event.target))) && set(false);
    document.addEventListener("keydown", away);
    document.addEventListener("pointerdown", away);
    return () => (document.removeEventListener("keydown", away), document.removeEventListener("pointerdown", away));
  }, []);
  const running = found.filter((one) => RUNNING.has(one.state)).length;
  const failed = found.length - running;
  return html`<div class="tray" ref=${box}>
    <button type="button" aria-expanded=${open ? "true" : "false"} onClick=${() => set(!open)} data-running=${running} data-worker=${server?.worker}>
      <i class="lamp ${server?.worker ?? "starting"} ${running ? "busy" : ""}"></i>${texts.tray.label}${running ? ` · ${running}` : ""}${failed ? html` <b class="hot">${failed}!</b>` : ""}
    </button>
    ${open &&
    html`<div class="drawer">
      <p>${server ? texts.tray.worker[server.worker] : texts.loading}${server?.worker_message && html` <span>${server.worker_message}</span>`}</p>
      ${found.length === 0 && html`<p class="soft">${texts.tray.none}</p>`}
      <ul>${found.map(
        (one) => html`<li key=${one.id}>
          <a href=${one.href}>${one.label ?? "…"}</a> <span class=${RUNNING.has(one.state) ? "soft" : "hot"}>${texts.tray.states[one.state] ?? one.state}</span>
          ${RUNNING.has(one.state) && html`<${Progress} label=${texts.tray.progress} done=${one.done} total=${one.total} />`}
          ${one.message && html`<p>${one.message}</p>`}
          ${!RUNNING.has(one.state) && html`<button type="button" onClick=${() => dismiss(one.id)}>${texts.tray.dismiss}</button>`}
        </li>`,
      )}</ul>
    </div>`}
  </div>`;
}
