// The command that does the same in a shell.

import { texts } from "../texts.js";

const words = texts.chart;
const quoted = (text) => (/^[\w./:%+=,@-]+$/.test(text) ? text : `'${String(text).replaceAll("'", "'\\''")}'`);

const OPTIONS = {
  horizon: ["--horizon", 24],
  paths: ["--paths", 100],
  seed: ["--seed", 0],
  temperature: ["--temperature", 1],
  top_p: ["--top-p", 1],
  top_k: ["--top-k", 0],
  lookback: ["--lookback", null],
  calendar: ["--calendar", null],
  overflow: ["--overflow", "exact"],
};

/** Symbols that are written out. */
const NAMED = 20;
const READING = { timezone: "--timezone", date_format: "--date-format", decimal: "--decimal", adjust: "--adjust", missing: "--missing", price_scale: "--price-scale" };
const USUAL = new Set(["auto", "error"]);

/** `symbols`: none are all of the source. */
export function command(source, request, model, end, symbols = request.symbols) {
  const parts = ["chandler", "forecast", source.kind === "bundled" ? "chandler-stocks" : source.name];
  if (symbols.length) parts.push("--symbols", symbols.length > NAMED ? `${symbols.slice(0, NAMED).join()},…` : symbols.join());
  parts.push("--model", model.shell);
  for (const [name, [option, usual]] of Object.entries(OPTIONS)) if (request[name] !== usual && request[name] !== undefined) parts.push(option, request[name]);
  if (request.repair) parts.push("--repair");
  if (request.calibrated) parts.push("--calibrated");
  if (end) parts.push("--end", end);
  const given = source.options ?? {};
  for (const [name, option] of Object.entries(READING)) if (given[name] && !USUAL.has(given[name])) parts.push(option, given[name]);
  for (const [name, column] of Object.entries(given.columns ?? {})) parts.push("--column", `${name}=${column}`);
  if (given.unsorted === "sort") parts.push("--sort");
  if (given.join === true) parts.push("--join");
  return parts.map((part) => quoted(String(part))).join(" ");
}

/** Where that command does something else; null where it does not. */
export function unlike({ interval, origin, symbols: asked }, symbols = asked) {
  const found = [interval !== null && words.commandInterval, origin !== null && words.commandPast, symbols.some((one) => one.includes(",")) && words.commandComma];
  return found.filter(Boolean).join(" ") || null;
}
