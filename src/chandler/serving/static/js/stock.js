// What there is to work with: sources of bars and models, kept as the server's events say.
import { all, get } from "./api.js";
import { ENDED, on } from "./events.js";
import { useAnswer, useEffect } from "./ui.js";

/** Jobs at whose end there are other models. */
const MAKES = new Set(["finetune", "calibrate"]);

/** {sources, models, error}; null until they are there. */
export function useStock() {
  const sources = useAnswer(() => all("/sources", "sources"), []);
  const models = useAnswer(() => get("/models"), []);
  const made = ({ kind, state }) => MAKES.has(kind) && ENDED.has(state) && models.again();
  useEffect(() => on({ source: sources.again, job: made, resync: () => (sources.again(), models.again()) }), []);
  return { sources: sources.value, models: models.value?.models, error: sources.error ?? models.error };
}
