// Forecasts that the chart wants: asked for once, followed to their end, cancelled when they are no longer wanted.
import { call, get, post, server } from "../api.js";
import { on } from "../events.js";

const PENDING = new Set(["asked", "waiting", "running", "preview"]);
const PREVIEW = 10;
const PATIENCE = 4000;

export const pending = (run) => PENDING.has(run?.state);

export class Desk {
  /** `changed(runs)` hears of every change; runs: model id -> {key, request, id, state, position, progress, forecast, error}. */
  constructor(changed) {
    this.changed = changed;
    this.runs = new Map();
    this.end = on({ forecast: (told) => this.heard(told), resync: () => this.look() });
    // Events may be lost on the way: what is still awaited is looked at now and then.
    this.timer = setInterval(() => server.get().here && this.look(PATIENCE), PATIENCE);
  }

  close() {
    clearInterval(this.timer);
    this.end();
    // Whoever leaves the page may come back to it: what runs goes on, and is in the journal then.
    this.changed = () => {};
  }

  /** One run for each of these requests and no other: [{id: model, request}]. */
  want(list) {
    const ids = new Set(list.map((one) => one.id));
    for (const id of [...this.runs.keys()]) if (!ids.has(id)) this.drop(id);
    for (const { id, request } of list) {
      const key = JSON.stringify(request);
      if (this.runs.get(id)?.key === key) continue;
      const before = this.runs.get(id)?.forecast ?? null;
      this.drop(id);
      this.ask(id, { key, request, state: "asked", id: null, progress: null, forecast: null, error: null, before });
    }
    this.changed(new Map(this.runs));
  }

  drop(id) {
    const run = this.runs.get(id);
    this.runs.delete(id);
    if (run?.id && pending(run)) call("DELETE", `/forecasts/${run.id}`).catch(() => {});
  }

  async ask(id, run) {
    this.runs.set(id, run);
    run.seen = Date.now();
    const current = () => this.runs.get(id) === run;
    try {
      const answer = await post("/forecasts", { ...run.request, preview: run.request.paths > PREVIEW });
      run.id = answer.id;
      if (!current()) {
        if (PENDING.has(answer.state)) call("DELETE", `/forecasts/${answer.id}`).catch(() => {});
        return;
      }
      run.state = answer.state;
      run.position = answer.position;
      if (answer.state === "preview" || !pending(run)) await this.fetch(run);
    } catch (error) {
      Object.assign(run, { state: "failed", error });
    }
    if (current()) this.changed(new Map(this.runs));
  }

  /** Ask once more for what failed or was cancelled. */
  again(id) {
    const { key, request } = this.runs.get(id);
    this.ask(id, { key, request, state: "asked", id: null, progress: null, forecast: null, error: null });
    this.changed(new Map(this.runs));
  }

  async cancel(id) {
    const run = this.runs.get(id);
    if (!run?.id || !pending(run)) return;
    run.state = "cancelled";
    this.changed(new Map(this.runs));
    await call("DELETE", `/forecasts/${run.id}`).catch(() => {});
  }

  find(id) {
    return [...this.runs.values()].find((run) => run.id === id);
  }

  async heard({ id, state, done, total }) {
    const run = this.find(id);
    if (!run || !pending(run)) return;
    run.seen = Date.now();
    if (total) run.progress = { done, total };
    const turned = state !== run.state;
    run.state = state;
    if (turned && state !== "waiting" && state !== "running") await this.fetch(run);
    this.changed(new Map(this.runs));
  }

  async look(quiet = 0) {
    for (const run of [...this.runs.values()]) {
      if (!run.id || !pending(run) || Date.now() - run.seen < quiet) continue;
      run.seen = Date.now();
      await this.fetch(run);
      this.changed(new Map(this.runs));
    }
  }

  async fetch(run) {
    try {
      const found = await get(`/forecasts/${run.id}`);
      run.state = found.state;
      run.position = found.position;
      run.progress = found.progress ?? run.progress;
      if (found.series?.length) run.forecast = found;
      if (found.state === "failed") run.error = new Error(found.message ?? "");
    } catch (error) {
      Object.assign(run, { state: "failed", error });
    }
  }
}
