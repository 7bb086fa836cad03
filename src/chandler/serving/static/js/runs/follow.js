// Runs that go on: asked about again, and their metrics one after the other; never while the page is hidden, nor twice at once.
import { get } from "../api.js";
import { on } from "../events.js";
import { useEffect, useState } from "../ui.js";

const PAUSE = 2000;
const SELDOM = 5000;

/** Ask `again` when a job has moved, and now and then while runs do (`moves`): those of a shell tell nobody how far they are. */
export function useNews(again, moves, id) {
  useEffect(() => {
    const end = on({ job: ({ state }) => state === "running" || again(), resync: again });
    const timer = moves && setInterval(() => document.hidden || again(), SELDOM);
    return () => (clearInterval(timer), end());
  }, [moves, id]);
}

/** Records of metrics.jsonl as far as they are there; null before the first answer. */
export function useMetrics(id, going) {
  const [records, set] = useState(null);
  useEffect(() => {
    let place = null;
    let timer = 0;
    let over = false;
    const ask = async () => {
      if (document.hidden) return void document.addEventListener("visibilitychange", ask, { once: true });
      try {
        const found = await get(`/runs/${id}/metrics`, { after: place });
        if (over) return;
        place = found.next;
        set((old) => (found.reset || !old ? found.records : found.records.length ? [...old, ...found.records] : old));
      } catch (error) {
        if (over || error.status === 404) return;
      }
      if (going) timer = setTimeout(ask, PAUSE);
    };
    set(null);
    ask();
    return () => {
      over = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [id, going]);
  return records;
}
