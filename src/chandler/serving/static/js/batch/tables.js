// Forecasts of many symbols, followed to their end: rows come as they are made.
import { get, server } from "../api.js";
import { on } from "../events.js";
import { debounced } from "../core.js";
import { useEffect, useRef, useState } from "../ui.js";
import { unfolded } from "./rows.js";

const ENDED = new Set(["done", "failed", "cancelled"]);
const PATIENCE = 4000;
const MOST = 2000;

export const ended = (table) => ENDED.has(table?.state);

/** id -> {id, state, position, message, error, request, model, done, total, rows}, and what asks for news at once. */
export function useTables(ids) {
  const [tables, set] = useState(new Map());
  const look = useRef(() => {});
  const key = ids.join();
  useEffect(() => {
    const mine = new Map(ids.map((id) => [id, { id, state: "asked", rows: [], next: 0, done: 0, total: null, model: "" }]));
    let gone = false;
    const busy = new Set();
    const show = () => gone || set(new Map(mine));
    const news = async (id) => {
      if (busy.has(id)) return;
      busy.add(id);
      const one = mine.get(id);
      try {
        if (!one.request) {
          const told = await get(`/forecasts/${id}`, { limit: 1 });
          Object.assign(one, { request: told.request, model: told.model.name ?? "", made_at: told.made_at, seconds: told.seconds });
        }
        for (let more = true; more && !gone; ) {
          const { rows, next, done, total, state, message } = await get(`/forecasts/${id}/table`, { after: one.next, limit: MOST });
          const found = unfolded(rows, { id, model: one.model, model_id: one.request?.model_id });
          for (const row of found) row.key = `${id} ${row.symbol}`;
          more = next < done && next > one.next;
          Object.assign(one, { rows: found.length ? [...one.rows, ...found] : one.rows, next, done, total, message, state: more ? one.state : state });
          show();
        }
        one.error = null;
        if (ended(one) && one.seconds === null) {
          const { seconds } = await get(`/forecasts/${id}`, { limit: 1 });
          one.seconds = seconds ?? undefined;
          show();
        }
      } catch (error) {
        Object.assign(one, { error, state: error.status === 404 ? "failed" : one.state });
        show();
      } finally {
        busy.delete(id);
      }
    };
    look.current = () => [...mine.values()].forEach((one) => ended(one) || news(one.id));
    set(new Map(mine));
    look.current();
    const soon = new Map(ids.map((id) => [id, debounced(() => news(id), 100)]));
    const end = on({
      forecast({ id, state, done }) {
        const one = mine.get(id);
        if (!one || ended(one)) return;
        if (done) one.progress = done;
        if (!ENDED.has(state)) one.state = state;
        show();
        // Rows are there once their part is: what is on the way is no row yet.
        if (ENDED.has(state) || (done ?? 0) > one.done) soon.get(id)();
      },
      resync: () => look.current(),
    });
    const timer = setInterval(() => server.get().here && look.current(), PATIENCE);
    return () => {
      gone = true;
      clearInterval(timer);
      end();
    };
  }, [key]);
  return { tables: ids.map((id) => tables.get(id)).filter(Boolean), look: () => look.current() };
}
