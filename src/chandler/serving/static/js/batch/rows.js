// What a table of forecasts can be asked: which columns there are, which rows are shown, in which order, and all that as CSV.

/** name -> what of a row is sorted and filtered by; bands by their width. Text columns come first. */
export const VALUES = {
  symbol: (row) => row.symbol,
  model: (row) => row.model,
  last: (row) => row.last_close,
  median: (row) => row.median_return,
  mean: (row) => row.mean_return,
  band50: (row) => width(row.low50, row.high50),
  band80: (row) => width(row.low80, row.high80),
  p_up: (row) => row.p_up,
  volatility: (row) => row.volatility,
  exposure: (row) => row.exposure,
  notes: (row) => row.failed ?? row.notes,
  seconds: (row) => row.seconds,
  low50: (row) => row.low50,
  high50: (row) => row.high50,
  low80: (row) => row.low80,
  high80: (row) => row.high80,
};
const TEXTS = new Set(["symbol", "model", "exposure", "notes"]);
export const NUMBERS = Object.keys(VALUES).filter((name) => !TEXTS.has(name));

const width = (low, high) => (low === null || high === null ? null : high - low);

/** Columns of an answer as rows of their own. */
export function unfolded(columns, more) {
  const names = Object.keys(columns);
  return columns.symbol.map((_, at) => ({ ...more, ...Object.fromEntries(names.map((name) => [name, columns[name][at]])) }));
}

const CONDITION = /([a-z_]\w*)\s*(<=|>=|=|<|>)\s*([-+−]?\d*\.?\d+(?:e[-+]?\d+)?)\s*(%?)/gi;
const HOLDS = { "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b)) };

/** What `p_up > 0.6 and volatility < 2% tech` asks: conditions on numbers, and words that a row has. {holds, unknown} */
export function filter(text) {
  const conditions = [];
  const unknown = [];
  const rest = text.replace(CONDITION, (_, name, sign, number, percent) => {
    const key = name.toLowerCase();
    if (NUMBERS.includes(key)) conditions.push([VALUES[key], HOLDS[sign], Number(number.replace("−", "-")) / (percent ? 100 : 1)]);
    else unknown.push(name);
    return " ";
  });
  const words = rest.toLowerCase().split(/[\s,]+/).filter((word) => word && (word !== "and" || !conditions.length));
  const holds = (row) =>
    conditions.every(([value, sign, number]) => value(row) !== null && sign(value(row), number)) &&
    words.every((word) => `${row.symbol} ${row.model} ${row.exposure ?? ""} ${row.failed ?? row.notes}`.toLowerCase().includes(word));
  return { holds, unknown };
}

/** Rows in the order of a column, "-p_up" from the greatest down; what has no value comes last either way. */
export function ordered(rows, sort) {
  if (!sort) return rows;
  const down = sort.startsWith("-");
  const value = VALUES[down ? sort.slice(1) : sort];
  if (!value) return rows;
  const sign = down ? -1 : 1;
  const none = (one) => one === null || one === undefined || one === "";
  return rows
    .map((row, at) => [value(row), at, row])
    .sort(([a, i], [b, j]) => {
      if (none(a) || none(b)) return none(a) - none(b) || i - j;
      return sign * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b) || i - j;
    })
    .map(([, , row]) => row);
}

const KEPT = ["symbol", "model", "last_close", "median_return", "mean_return", "low50", "high50", "low80", "high80", "p_up", "volatility", "exposure", "notes", "seconds", "failed"];

/** A cell that no spreadsheet takes for a formula. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The rows as they are shown, with whole numbers. */
export const csv = (rows) => [KEPT.join(","), ...rows.map((row) => KEPT.map((name) => cell(row[name])).join(","))].join("\r\n") + "\r\n";
