// A job as it goes: one question after another, never two at once, and none while the server is away.
import { get, together } from "../api.js";
import { ENDED, on } from "../events.js";
import { useEffect, useRef, useState } from "../ui.js";

const PAUSE = 2000;
const LINES = 3000;
const nothing = (id) => ({ id, job: null, run: null, records: [], lines: [], error: null });

/** {job, run, records, lines, error}: what the server says of a job, kept up to date while it goes. */
export function useLive(id, logOpen) {
  const [state, set] = useState(nothing(id));
  const open = useRef(logOpen);
  open.current = logOpen;
  const loop = useRef(null);
  useEffect(() => {
    let over = false;
    let asking = false;
    let wanted = false;
    let timer = 0;
    let metrics = null;
    let log = 0;
    let told = null;
    let last = null;
    const put = (facts) =>
      over ||
      set((found) => {
        const old = found.id === id ? found : nothing(id);
        return { ...old, ...(typeof facts === "function" ? facts(old) : facts) };
      });
    const round = async () => {
      const job = await together(`/jobs/${id}`);
      last = job.state;
      put({ job, error: null });
      if (job.run_id) await records(job);
      if (open.current) await lines();
    };
    const records = async (job) => {
      try {
        const found = await get(`/runs/${job.run_id}/metrics`, { after: metrics });
        metrics = found.next;
        if (found.reset || found.records.length) put((old) => ({ records: found.reset ? found.records : [...old.records, ...found.records] }));
        // The settings stand when the run has begun, its verdict when a stage is over: not asked for with each step.
        const now = `${job.state} ${job.progress?.stage ?? ""}`;
        if (now !== told) {
          put({ run: await get(`/runs/${job.run_id}`) });
          told = now;
        }
      } catch (error) {
        // Its folder was taken away meanwhile.
        if (error.status !== 404) throw error;
      }
    };
    const lines = async () => {
      for (let more = true; more && !over; ) {
        const found = await get(`/jobs/${id}/log`, { after: log });
        more = found.lines.length > 0 && found.next !== log;
        log = found.next;
        if (found.reset || found.lines.length) put((old) => ({ lines: [...(found.reset ? [] : old.lines), ...found.lines].slice(-LINES) }));
      }
    };
    const tick = async () => {
      clearTimeout(timer);
      if (over) return;
      if (asking || document.hidden) return void (wanted = true);
      asking = true;
      wanted = false;
      try {
        await round();
      } catch (error) {
        if (error.name !== "AbortError") put({ error });
      }
      asking = false;
      if (over) return;
      if (wanted) timer = setTimeout(tick, 500);
      else if (last && !ENDED.has(last)) timer = setTimeout(tick, PAUSE);
    };
    loop.current = tick;
    const shown = () => !document.hidden && tick();
    const end = on({ job: (one) => one.id === id && tick(), resync: tick });
    document.addEventListener("visibilitychange", shown);
    tick();
    return () => {
      over = true;
      clearTimeout(timer);
      end();
      document.removeEventListener("visibilitychange", shown);
    };
  }, [id]);
  useEffect(() => void (logOpen && loop.current?.()), [logOpen]);
  return { ...(state.id === id ? state : nothing(id)), again: () => loop.current?.() };
}
