// What the chart shows, as an address: a reload, "back" and a copied link restore all of it.

const text = { read: (value) => value || null, write: (value) => value ?? "" };
const whole = { read: (value) => (/^-?\d+$/.test(value ?? "") ? Number(value) : null), write: (value) => (value === null ? "" : String(value)) };
const real = { read: (value) => (value && Number.isFinite(Number(value)) ? Number(value) : null), write: (value) => (value === null ? "" : String(value)) };
const flag = { read: (value) => (value === null ? null : value === "1"), write: (value) => (value ? "1" : "0") };
const list = { read: (value) => (value === null ? null : value.split(",").filter(Boolean)), write: (value) => value.join(",") };

/** name in the state -> [name in the address, kind, value when absent] */
const FIELDS = {
  source: ["source", text, null],
  symbol: ["symbol", text, null],
  interval: ["interval", text, null],
  origin: ["origin", whole, null],
  models: ["models", list, null],
  focus: ["focus", text, null],
  horizon: ["h", whole, 24],
  paths: ["n", whole, 100],
  seed: ["seed", whole, 0],
  temperature: ["t", real, 1],
  top_p: ["top_p", real, 1],
  top_k: ["top_k", whole, 0],
  lookback: ["lookback", whole, null],
  calendar: ["calendar", text, null],
  overflow: ["overflow", text, "exact"],
  repair: ["repair", flag, false],
  calibrated: ["calibrated", flag, false],
  showPaths: ["paths", flag, false],
  density: ["density", flag, false],
  truth: ["truth", flag, true],
  log: ["log", flag, false],
  table: ["table", flag, false],
  step: ["step", whole, null],
  above: ["above", real, null],
  view: ["view", list, null],
};

/** What a forecast is asked with; the rest says how it looks. */
export const SETTINGS = ["horizon", "paths", "seed", "temperature", "top_p", "top_k", "lookback", "calendar", "overflow", "repair", "calibrated"];

export const DEFAULTS = Object.fromEntries(Object.entries(FIELDS).map(([name, [, , value]]) => [name, value]));

export function parse(query) {
  const state = {};
  for (const [name, [key, kind, absent]] of Object.entries(FIELDS)) state[name] = kind.read(query.get(key)) ?? absent;
  const view = state.view?.map(Number);
  state.view = view?.length === 2 && view.every(Number.isFinite) && view[0] < view[1] ? view : null;
  state.models = state.models?.slice(0, 4) ?? null;
  return state;
}

export function format(state) {
  const query = new URLSearchParams();
  for (const [name, [key, kind, absent]] of Object.entries(FIELDS)) {
    const written = state[name] === null ? null : kind.write(state[name]);
    if (written !== null && state[name] !== absent) query.set(key, written);
  }
  return query;
}

/** The chart of a forecast as it was asked for, of one of its symbols. */
export function chartOf(asked, symbol) {
  const known = SETTINGS.filter((name) => asked[name] !== undefined).map((name) => [name, asked[name]]);
  const place = { source: asked.source_id ?? null, symbol, interval: asked.interval ?? null, origin: asked.origin ?? null };
  return format({ ...DEFAULTS, ...Object.fromEntries(known), ...place, models: asked.model_id ? [asked.model_id] : [] });
}

/** Whether Calibrated decides how is sampled: it does for all models beside each other, so that they differ in nothing else. */
export const locked = (calibrated, chosen) => calibrated && chosen.some((one) => one.calibrated);

/** The body of POST /forecasts for one of the chosen models. */
export function request(state, model, chosen) {
  const settings = Object.fromEntries(SETTINGS.map((name) => [name, state[name]]));
  return {
    source_id: state.source,
    symbols: [state.symbol],
    model_id: model.id,
    origin: state.origin,
    interval: state.interval,
    ...settings,
    calibrated: settings.calibrated && model.calibrated,
    // A calibrated forecast samples as its fit did.
    ...(locked(settings.calibrated, chosen) ? { temperature: 1, top_p: 1, top_k: 0 } : {}),
  };
}
