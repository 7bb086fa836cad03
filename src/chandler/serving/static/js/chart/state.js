// What the chart page knows: its address, the bars of it, and the forecasts of it.
import { ApiError, get } from "../api.js";
import { go, route, useStore } from "../core.js";
import { useEffect, useMemo, useRef, useState } from "../ui.js";
import { format, parse, request } from "./address.js";
import { Desk, pending } from "./forecasts.js";
import { styleOf } from "./models.js";
import { first, wanted } from "./loader.js";

const NOTHING = [];

/** The state in the address, and what changes it. */
export function useAddress() {
  const { query } = useStore(route);
  const state = useMemo(() => parse(query), [query.toString()]);
  const update = (change, replace = false) => {
    const now = parse(new URLSearchParams(location.search));
    go("/chart", format({ ...now, ...change }), replace);
  };
  return [state, update];
}

/** Fill in what the address leaves open: a source that is ready, its first symbol, a model that is here. */
export function useDefaults(state, update, sources, models) {
  const [problem, set] = useState(null);
  const source = sources?.find((one) => one.id === state.source) ?? null;
  const ready = source?.state === "ready";
  useEffect(() => {
    if (!sources || !models) return;
    const change = {};
    if (!state.source) change.source = (sources.find((one) => one.state === "ready" && one.kind === "bundled") ?? sources.find((one) => one.state === "ready"))?.id ?? null;
    if (!state.models) change.models = models.filter((one) => one.available).slice(0, 1).map((one) => one.id);
    if (change.source || change.models) update(change, true);
  }, [sources, models, state.source, state.models]);
  useEffect(() => {
    set(null);
    if (!ready || state.symbol) return;
    get(`/sources/${source.id}/symbols`, { limit: 1 }).then(
      ({ symbols }) => symbols.length && update({ symbol: symbols[0].symbol }, true),
      (error) => set(error.message),
    );
  }, [ready, state.source, state.symbol]);
  return { source, problem };
}

/** The bars: the first ones, then those that the view asks for. */
export function useBars(state, source) {
  const { symbol, interval } = state;
  const series = { source: state.source, changed: source?.changed, symbol, interval };
  const name = JSON.stringify(series);
  const [found, set] = useState({ name: null, bars: null, error: null, start: null });
  const latest = useRef(found);
  latest.current = found;
  const busy = useRef(null);

  const load = (start, loaded) => {
    busy.current?.abort();
    const stop = (busy.current = new AbortController());
    first(series, start, stop.signal)
      .then((bars) => {
        if (busy.current !== stop) return;
        set({ name: loaded, bars, error: null, start });
      }, (error) => error.name !== "AbortError" && set({ name: loaded, bars: null, error, start }))
      .finally(() => busy.current === stop && (busy.current = null));
  };
  useEffect(() => {
    if (source?.state !== "ready" || !state.symbol) return;
    load({ view: state.view, origin: state.origin, horizon: state.horizon }, name);
  }, [name, source?.state]);
  // An origin that is not among the bars: go there.
  useEffect(() => {
    const { bars } = latest.current;
    if (!bars || latest.current.name !== name || state.origin === null || !bars.time.length) return;
    if (state.origin < bars.time[0] || state.origin > bars.time.at(-1)) load({ view: null, origin: state.origin, horizon: state.horizon }, name);
  }, [state.origin]);

  const range = async (view) => {
    const { bars } = latest.current;
    const place = view.place();
    if (!bars || busy.current || !place || view.shown?.bars !== bars) return;
    const stop = (busy.current = new AbortController());
    try {
      const next = await wanted(series, bars, view.times, place, stop.signal);
      if (next && busy.current === stop) set((old) => ({ ...old, bars: next, error: null }));
    } catch (error) {
      if (error.name !== "AbortError" && !(error instanceof ApiError && error.code === "away")) set((old) => ({ ...old, error }));
    } finally {
      if (busy.current === stop) busy.current = null;
    }
  };
  const current = found.name === name ? found : { ...found, bars: null, error: null };
  return { ...current, range, key: `${name} ${JSON.stringify(current.start)}` };
}

/** The bar at or before a time that may not be on the screen. */
export async function barBefore(state, time) {
  const { time: times } = await get(`/sources/${state.source}/bars`, { symbol: state.symbol, interval: state.interval, to: time, limit: 10 });
  return times.at(-1) ?? null;
}

/** The forecasts of the chosen models. An origin that moves on is waited for, so that a held key asks once. */
export function useForecasts(state, models, ready) {
  const [runs, set] = useState(new Map());
  const desk = useRef(null);
  const chosen = ready && models && state.models ? state.models.map((id) => models.find((one) => one.id === id)).filter(Boolean) : [];
  const asked = chosen.map((model) => ({ id: model.id, model, request: request(state, model, chosen) }));
  const list = asked.filter(({ model }) => model.available).map(({ id, request }) => ({ id, request }));
  useEffect(() => {
    desk.current = new Desk(set);
    return () => desk.current.close();
  }, []);
  const key = JSON.stringify(list);
  const before = useRef(null);
  useEffect(() => {
    const wait = before.current === null ? 0 : 350;
    before.current = key;
    const timer = setTimeout(() => desk.current.want(list), wait);
    return () => clearTimeout(timer);
  }, [key]);
  const lines = asked.map((one) => ({ ...one, name: one.model.name, style: styleOf(state.models.indexOf(one.id)), run: runs.get(one.id) }));
  const current = lines.map((line) => {
    const wish = list.find((one) => one.id === line.id);
    return wish && line.run && line.run.key !== JSON.stringify(wish.request) ? { ...line, run: { state: "asked", request: wish.request } } : line;
  });
  const focus = current.find((one) => one.id === state.focus) ?? current[0] ?? null;
  return { lines: current, focus, desk: desk.current, busy: current.some(({ run }) => pending(run)) };
}

/** Single paths or their density, fetched when they are to be seen. */
export function useLayer(path, forecast, fields, on) {
  const [found, set] = useState(null);
  const key = on && forecast?.state === "done" ? `${forecast.id} ${JSON.stringify(fields)}` : null; // paths are kept once all are made
  useEffect(() => {
    set(null);
    if (!key) return;
    const stop = new AbortController();
    get(`/forecasts/${forecast.id}/${path}`, fields, { signal: stop.signal }).then(set, () => {});
    return () => stop.abort();
  }, [key]);
  return key ? found : null;
}

/** What a model knows of the bars, [{from, to, kind, says}]; none until that is told. */
export function useKnown(state, source, model) {
  const [found, set] = useState({ key: null, periods: [] });
  const key = model?.available && state.symbol ? JSON.stringify([model.id, source.id, source.changed, state.symbol]) : null;
  useEffect(() => {
    if (!key) return;
    const stop = new AbortController();
    // Without an answer the forecast itself still says what is known of its bars.
    get(`/models/${model.id}/exposure`, { source_id: source.id, symbol: state.symbol }, { signal: stop.signal }).then(({ periods }) => set({ key, periods }), () => {});
    return () => stop.abort();
  }, [key]);
  return found.key === key ? found.periods : NOTHING;
}
