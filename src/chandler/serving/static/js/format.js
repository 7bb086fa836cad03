// Times as a reader of a market wants them: in the zone of the data, never in that of the browser.
import { texts } from "./texts.js";

const DAY = 86400;
const forms = new Map();

/** The clock of a zone; one that the browser does not know is shown as UTC, and called so. */
function form(zone, options) {
  const key = `${zone} ${JSON.stringify(options)}`;
  if (forms.has(key)) return forms.get(key);
  const made = (timeZone) => new Intl.DateTimeFormat("en-GB", { timeZone, hourCycle: "h23", ...options });
  let found;
  try {
    // A fixed offset is UTC+08:00 in the data, +08:00 here.
    found = made(zone?.replace(/^UTC(?=[+-]\d\d:)/, "") || "UTC");
  } catch {
    found = made("UTC");
  }
  forms.set(key, found);
  return found;
}

/** What a zone is called, as times in it are shown. */
export function zoneName(zone) {
  const shown = form(zone, {}).resolvedOptions().timeZone;
  return zone && !/^(UTC$|[+-])/.test(shown) ? zone : shown;
}

const DATE = { day: "numeric", month: "short", year: "numeric" };
const CLOCK = { hour: "2-digit", minute: "2-digit" };

/** Whether bars of this length are dated by their day alone. */
export const daily = (step) => (step ?? DAY) >= DAY;

/** 14 Feb 2013, or 14 Feb 2013 09:30 where bars are shorter than a day. */
export function moment(time, { zone = null, step_seconds: step = DAY } = {}, named = false) {
  if (time === null || time === undefined) return "–";
  const date = new Date(time * 1000);
  if (daily(step)) return form("UTC", DATE).format(date);
  const text = `${form(zone, DATE).format(date)} ${form(zone, step < 60 ? { ...CLOCK, second: "2-digit" } : CLOCK).format(date)}`;
  return named ? `${text} ${zone ? zoneName(zone) : texts.noZone}` : text;
}

/** The label of a mark on the axis of times; `kind`: 0 a year, 1 a month, 2 a day, 3 a time, 4 with seconds. */
export function tick(time, kind, { zone = null, step_seconds: step = DAY } = {}) {
  const date = new Date(time * 1000);
  const of = daily(step) ? "UTC" : zone;
  if (kind === 0) return form(of, { year: "numeric" }).format(date);
  if (kind === 1) return form(of, { month: "short" }).format(date);
  if (kind === 2) return form(of, { day: "numeric", month: "short" }).format(date);
  return form(of, kind === 4 ? { ...CLOCK, second: "2-digit" } : CLOCK).format(date);
}

/** When something happened here: in the time of this machine, which is the reader's. */
export function clock(time) {
  return new Intl.DateTimeFormat("en-GB", { ...DATE, ...CLOCK, hourCycle: "h23" }).format(new Date(time * 1000));
}

/** 1 min, 15 min, 1 hour, 1 day, 1 week. */
export function length(step) {
  if (!step) return "–";
  const units = [[7 * DAY, "week"], [DAY, "day"], [3600, "hour"], [60, "min"], [1, "s"]];
  const [size, name] = units.find(([size]) => step >= size && step % size === 0) ?? units[4];
  const count = step / size;
  return `${count} ${name}${count === 1 || name === "min" || name === "s" ? "" : "s"}`;
}

/** The value of a date field, and back: dates for days, local times of the zone for shorter bars. */
export function fieldValue(time, { zone = null, step_seconds: step = DAY } = {}) {
  const parts = Object.fromEntries(
    form(daily(step) ? "UTC" : zone, { year: "numeric", month: "2-digit", day: "2-digit", ...CLOCK, second: "2-digit" })
      .formatToParts(new Date(time * 1000))
      .map(({ type, value }) => [type, value]),
  );
  const day = `${parts.year.padStart(4, "0")}-${parts.month}-${parts.day}`;
  return daily(step) ? day : `${day}T${parts.hour}:${parts.minute}${parts.second > 0 ? `:${parts.second}` : ""}`;
}

export function fieldTime(text, series) {
  const wall = Date.parse(`${text.length > 10 ? text : `${text}T00:00`}Z`) / 1000;
  if (!Number.isFinite(wall) || daily(series.step_seconds) || !series.zone) return Number.isFinite(wall) ? wall : null;
  // What the clock of the zone shows is known for a time, not the other way round: two steps settle it.
  let time = wall;
  for (let step = 0; step < 2; step++) time += wall - Date.parse(`${fieldValue(time, series)}Z`) / 1000;
  return time;
}
