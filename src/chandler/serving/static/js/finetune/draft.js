// What one is about to start: it lives in the address, so that a reload, the way back and a copied link have it.
import { ApiError, get, post } from "../api.js";
import { go, route, useStore } from "../core.js";
import { ENDED, on } from "../events.js";
import { useAnswer, useEffect, useMemo, useState } from "../ui.js";
import { at, fieldsOf, given, merged, same } from "./schema.js";

function read(query) {
  const changes = {};
  for (const one of query.getAll("set")) {
    const cut = one.indexOf("=");
    try {
      changes[one.slice(0, cut)] = JSON.parse(one.slice(cut + 1));
    } catch {
      changes[one.slice(0, cut)] = one.slice(cut + 1);
    }
  }
  const [check, of] = (query.get("check") ?? "").split(".");
  return { source: query.get("source"), recipe: query.get("recipe"), model: query.get("model"), name: query.get("name"), check: check ? { id: check, of } : null, changes };
}

function written(draft) {
  const query = new URLSearchParams();
  for (const name of ["source", "recipe", "model", "name"]) if (draft[name]) query.set(name, draft[name]);
  for (const [key, value] of Object.entries(draft.changes)) query.append("set", `${key}=${JSON.stringify(value)}`);
  if (draft.check) query.set("check", `${draft.check.id}.${draft.check.of}`);
  return query;
}

/** The draft of the address, and what changes it. */
export function useDraft() {
  const { query } = useStore(route);
  const draft = useMemo(() => read(query), [query.toString()]);
  const update = (change) => go("/finetune", written({ ...read(route.get().query), ...change }), true);
  return [draft, update];
}

/** Changes without those that say what the recipe says. */
export function kept(fields, values, changes) {
  const known = new Map(fields.map((field) => [field.key, field]));
  return Object.fromEntries(
    Object.entries(changes).filter(([key, value]) => {
      const field = known.get(key);
      if (!field) return true;
      return !same(value, given(values, field)) || (field.unset && at(values, field.unset) === null);
    }),
  );
}

/** The changes that make a recipe's values these. */
export function changed(fields, values, next) {
  const all = fields.map((field) => [field.key, at(next, field.key)]).filter(([, value]) => value !== undefined);
  return kept(fields, values, Object.fromEntries(all));
}

/** A recipe as the form needs it: {recipe, fields, values (with the changes)}. */
export function useRecipe(id, changes) {
  const { value: recipe, error } = useAnswer(() => (id ? get(`/recipes/${id}`) : Promise.resolve(null)), [id]);
  const here = recipe?.id === id ? recipe : null;
  const fields = useMemo(() => (here ? fieldsOf(here.schema) : []), [here]);
  const values = useMemo(() => here && merged(here.values, changes), [here, JSON.stringify(changes)]);
  return { recipe: here, fields, values, error };
}

/** What the server says of the changes, once they have been the same for a moment: {settled, message}. */
export function useChecked(recipe, changes) {
  const facts = recipe && Object.keys(changes).length ? `${recipe.id} ${JSON.stringify(changes)}` : null;
  const [state, set] = useState({ of: null, message: null });
  useEffect(() => {
    if (facts === null) return;
    let stale = false;
    const tell = (message) => stale || set({ of: facts, message });
    const timer = setTimeout(() => post(`/recipes/${recipe.id}/check`, { overrides: changes }).then((answer) => tell(answer.message), (error) => tell(error.message)), 350);
    return () => ((stale = true), clearTimeout(timer));
  }, [facts]);
  return { settled: facts === null || state.of === facts, message: state.of === facts ? state.message : null };
}

// ---- whether the bars do ----

/** A short name of what was asked, to know a preflight again by. */
function digest(text) {
  let hash = 0x811c9dc5;
  for (const one of text) hash = Math.imul(hash ^ one.codePointAt(0), 0x01000193) >>> 0;
  return hash.toString(16);
}

const ASKED = ["lookback", "horizon", "calendar", "max_gap"];

/** The preflight of a source for these settings; begun where there is none yet. */
export function usePreflight(source, values, draft, update) {
  const data = values?.data;
  const body = useMemo(() => {
    if (!data || source?.state !== "ready") return null;
    const made = Object.fromEntries(ASKED.filter((name) => data[name] !== null && data[name] !== undefined).map((name) => [name, data[name]]));
    const some = (group) => group && Object.fromEntries(Object.entries(group).filter(([, value]) => value !== null));
    return { ...made, split: some(data.split), cleaning: some(data.cleaning) };
  }, [source?.id, source?.state, JSON.stringify(data ?? null)]);
  const of = body && digest(`${source.id} ${source.last ?? ""} ${source.rows ?? ""} ${JSON.stringify(body)}`);
  const mine = draft.check?.of === of ? draft.check.id : null;
  const [state, set] = useState({ of: null, job: null, error: null });
  const [count, ask] = useState(0);
  useEffect(() => {
    if (!of) return;
    let over = false;
    let known = mine;
    let timer = 0;
    const here = (facts) => over || set({ of, job: null, error: null, ...facts });
    const look = async () => {
      clearTimeout(timer);
      try {
        const job = await get(`/jobs/${known}`);
        here({ job });
        clearTimeout(timer);
        if (!over && !ENDED.has(job.state)) timer = setTimeout(look, 2000);
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) begin();
        else here({ error });
      }
    };
    const begin = async () => {
      try {
        const job = await post(`/sources/${source.id}/preflight`, body);
        known = job.id;
        here({ job });
        if (over) return;
        update({ check: { id: job.id, of } });
        if (!ENDED.has(job.state)) timer = setTimeout(look, 2000);
      } catch (error) {
        here({ error });
      }
    };
    // While one types, nothing is begun.
    if (known) look();
    else timer = setTimeout(begin, state.of ? 800 : 0);
    const end = on({ job: (told) => told.id === known && look(), resync: () => known && look() });
    return () => ((over = true), clearTimeout(timer), end());
  }, [of, count]);
  const again = () => (update({ check: null }), set({ of: null, job: null, error: null }), ask(count + 1));
  return of && state.of === of ? { ...state, again } : { job: null, error: null, again };
}

/** Settings of the bars that a run reads and a preflight does not. */
export const unchecked = (changes) =>
  Object.keys(changes).filter((key) => /^data\.(start|end|symbols|columns|where|timezone|date_format|decimal|price_scale|unsorted|join|adjust|missing|resample|market|freq)$/.test(key));
