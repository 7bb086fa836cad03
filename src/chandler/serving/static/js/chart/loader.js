// Bars as the screen needs them: few enough to draw at once, and the next ones before the edge comes into sight.
import { get } from "../api.js";
import { placeOf, timeAt } from "./axis.js";

const FIRST = 600;
const MOST = 2000;
const FEW = 300;
const MANY = 1900;
const KEPT = 8;

const answers = new Map();

/** `series` says when its source was read: the same question of other data is another one. */
async function ask(series, fields, signal) {
  const { source, symbol, interval } = series;
  const key = JSON.stringify([series, fields]);
  let found = answers.get(key);
  if (!found) found = checked(await get(`/sources/${source}/bars`, { symbol, interval, limit: MOST, ...fields }, { signal }));
  answers.delete(key);
  answers.set(key, found);
  if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  return found;
}

/** The library takes anything in silence and draws it wrongly: times must rise, and be whole like prices must be numbers. */
export function checked(bars) {
  const { time } = bars;
  for (let at = 0; at < time.length; at++) {
    if (!Number.isInteger(time[at]) || (at && time[at] <= time[at - 1])) throw new Error(`Bar ${at}: the time ${time[at]} does not follow ${time[at - 1]}`);
    for (const name of ["open", "high", "low", "close"]) {
      if (!Number.isFinite(bars[name][at])) throw new Error(`Bar ${at}: ${name} is ${bars[name][at]}`);
    }
  }
  return bars;
}

const COLUMNS = ["time", "open", "high", "low", "close", "volume"];

function joined(early, late) {
  const last = early.time[early.time.length - 1] ?? -Infinity;
  const from = late.time.findIndex((time) => time > last);
  const rest = from < 0 ? late.time.length : from;
  const bars = { ...late, more_before: early.more_before };
  for (const name of COLUMNS) bars[name] = early[name] && late[name] ? [...early[name], ...late[name].slice(rest)] : null;
  return bars;
}

/** What is seen first: the view of the address, the surroundings of an origin, or the last bars. */
export async function first(series, { view, origin }, signal) {
  if (view) {
    const span = view[1] - view[0];
    return ask(series, { from: Math.floor(view[0] - span), to: Math.ceil(view[1] + span) }, signal);
  }
  if (origin !== null) {
    const [early, late] = await Promise.all([
      ask(series, { to: origin, limit: FIRST - 200 }, signal),
      ask(series, { from: origin, limit: 200 }, signal),
    ]);
    return joined(early, late);
  }
  return ask(series, { limit: FIRST }, signal);
}

/** The bars that a view wants instead of those that are there; null where these do. `places`: [from, to] on `times`. */
export async function wanted(series, bars, times, places, signal) {
  const [from, to] = places.map((place) => timeAt(times, place));
  const seen = placeOf(bars.time, to) - placeOf(bars.time, from);
  const inside = Math.min(bars.time.length - 1, placeOf(bars.time, to)) - Math.max(0, placeOf(bars.time, from));
  const margin = 0.25 * seen;
  const edge =
    (bars.more_before && placeOf(bars.time, from) < margin) || (bars.more_after && bars.time.length - 1 - placeOf(bars.time, to) < margin);
  if (!(bars.every > 1 && inside < FEW) && !(inside > MANY) && !edge) return null;
  const span = to - from;
  const fields = { from: Math.floor(Math.max(from - span, bars.first ?? -Infinity)), to: Math.ceil(Math.min(to + span, bars.last ?? Infinity)) };
  if (fields.from > fields.to) return null;
  const found = await ask(series, fields, signal);
  const same = found.every === bars.every && found.time.length === bars.time.length && found.time[0] === bars.time[0];
  return same || !found.time.length ? null : found;
}
