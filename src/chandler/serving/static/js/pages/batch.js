// Many symbols at once: a row for each, as they are made; sorted, filtered, saved.
import { call, get, post } from "../api.js";
import { go, route, useStore } from "../core.js";
import { clock, fieldValue } from "../format.js";
import { useStock } from "../stock.js";
import { texts } from "../texts-work.js";
import { Busy, Command, Empty, Notice, Progress, html, integer, save, seconds, useAnswer, useEffect, useMemo, useState } from "../ui.js";
import { SETTINGS, chartOf, format, parse, request } from "../chart/address.js";
import { command, unlike } from "../chart/command.js";
import { Grid } from "../batch/grid.js";
import { Asking, symbolsOf } from "../batch/panel.js";
import { NUMBERS, csv, filter, ordered } from "../batch/rows.js";
import { ended, useTables } from "../batch/tables.js";

const words = texts.batch;
const ID = /^fc_[0-9a-f]{12}$/;

// ---- the address ----

function read(query) {
  const state = parse(query);
  return {
    ...state, models: state.models?.slice(0, 2) ?? null, q: query.get("q") ?? "", sort: query.get("sort") || null,
    ids: (query.get("ids") ?? "").split(",").filter((one) => ID.test(one)).slice(0, 2),
  };
}

function write({ q, sort, ids, ...state }) {
  const query = format({ ...state, focus: null });
  if (ids.length) query.set("ids", ids.join());
  if (q) query.set("q", q);
  if (sort) query.set("sort", sort);
  return query;
}

function useAddress() {
  const { query } = useStore(route);
  const state = useMemo(() => read(query), [query.toString()]);
  return [state, (change, replace = true) => go("/batch", write({ ...read(new URLSearchParams(location.search)), ...change }), replace)];
}

// ---- what runs, and what of it is kept ----

function State({ table, cancel }) {
  const { id, model, state, rows, total, error } = table;
  const made = table.progress && !ended(table) ? Math.max(table.progress, table.done) : table.done;
  const failed = rows.filter((row) => row.failed).length;
  return html`<li data-table=${id} data-state=${state} data-done=${table.done}>
    <b>${model || "…"}</b> <span role="status">${words.state(state, integer(table.done), integer(total))}</span>
    ${failed > 0 && html` <span class="hot">${words.failed(integer(failed))}</span>`}
    ${!ended(table) && html` <${Progress} label=${words.progress} done=${made} total=${total} /> <button type="button" onClick=${() => cancel(id)}>${texts.chart.cancel}</button>`}
    ${ended(table) && table.seconds !== null && table.seconds !== undefined && html` <span class="soft">${seconds(table.seconds)}</span>`}
    ${(table.message || error) && html`<${Notice} kind="problem">${table.message ?? error.message}<//>`}
  </li>`;
}

const Saves = ({ tables }) =>
  tables.filter((one) => ended(one) && one.done > 0).map((one) => {
    const to = (what) => `/api/v1/forecasts/${one.id}/export?format=parquet&what=${what}`;
    const of = tables.length > 1 ? ` ${one.model}` : "";
    return html`<a key=${one.id} href=${to("rows")} download>${words.saves.rows}${of}</a> <a href=${to("paths")} download>${words.saves.paths}${of}</a>`;
  });

function Table({ state, update, tables, sources, models }) {
  const [typed, type] = useState(state.q);
  useEffect(() => type(state.q), [state.q]);
  const all = useMemo(() => (tables.length > 1 ? tables.flatMap((one) => one.rows) : tables[0].rows), [tables.map((one) => `${one.id} ${one.rows.length}`).join()]);
  const asked = useMemo(() => filter(state.q), [state.q]);
  const rows = useMemo(() => ordered(all.filter(asked.holds), state.sort), [all, asked, state.sort]);
  const of = new Map(tables.map((one) => [one.id, one]));
  const link = (row) => `/chart?${chartOf(of.get(row.id).request, row.symbol)}`;
  const open = (row) => go("/chart", chartOf(of.get(row.id).request, row.symbol));
  const { request: first } = tables[0];
  const source = first && sources.find((one) => one.id === first.source_id);
  const cancel = (id) => call("DELETE", `/forecasts/${id}`).catch(() => {});
  const end = first?.origin == null || !source ? null : fieldValue(first.origin, { zone: source.zone, step_seconds: source.step_seconds });
  return html`
    <ul class="tables">${tables.map((one) => html`<${State} key=${one.id} table=${one} cancel=${cancel} />`)}</ul>
    <div class="row tools-of">
      <label class="field filter"><span>${words.filter} <small>${words.filterHelp}</small></span>
        <input id="filter" type="search" value=${typed} placeholder="p_up > 0.6" aria-describedby="filtered"
          onInput=${(event) => (type(event.currentTarget.value), update({ q: event.currentTarget.value }))} /></label>
      <span id="filtered" role="status" class=${asked.unknown.length ? "hot" : "soft"} data-shown=${rows.length}>${asked.unknown.length ? words.unknown(asked.unknown.join(", "), NUMBERS.join(", ")) : words.shown(integer(rows.length), integer(all.length))}</span>
    </div>
    ${all.length > 0 && html`<${Grid} rows=${rows} models=${tables.length} sort=${state.sort} choose=${(sort) => update({ sort })} open=${open} link=${link} />
      <p class="row saves"><span class="soft">${texts.chart.save}</span>
        <button type="button" onClick=${() => save(new Blob([csv(rows)], { type: "text/csv" }), "forecasts.csv")} disabled=${rows.length === 0}>${words.saves.csv}</button><${Saves} tables=${tables} /></p>
      <p class="soft">${words.bands}</p>`}
    ${first && source && html`<h2 class="small">${texts.chart.command}</h2>${tables.map((one) => {
      const model = models.find((other) => other.id === one.request?.model_id);
      const named = one.request?.symbols.length === source.symbols ? [] : one.request?.symbols;
      return model && html`<${Command} key=${one.id} text=${command(source, one.request, model, end, named)} note=${unlike(one.request, named)} />`;
    })}`}`;
}

function Earlier() {
  const { value } = useAnswer(() => get("/forecasts", { many: true, limit: 50 }), []);
  if (!value?.forecasts.length) return null;
  return html`<h2>${words.earlier}</h2><ul class="earlier">${value.forecasts.map(
    (one) => html`<li key=${one.id}><a href="/batch?ids=${one.id}">${words.one(integer(one.symbols), one.model ?? "", integer(one.horizon))}</a>
      <span class="soft">${one.made_at ? clock(one.made_at) : ""} ${one.state === "done" ? "" : texts.tray.states[one.state]}</span></li>`,
  )}</ul>`;
}

export function View({ system }) {
  const [state, update] = useAddress();
  const limits = useStore(system)?.limits;
  const { sources, models, error } = useStock();
  const { tables, look } = useTables(state.ids);
  const [asking, set] = useState({ busy: false, error: null });
  const [sheet, open] = useState(false);
  const first = tables[0]?.request;
  // A table that is looked at says how it was asked for; without one the first source that is ready.
  useEffect(() => {
    if (!sources || !models) return;
    if (first && !state.source) update({ ...Object.fromEntries(SETTINGS.map((name) => [name, first[name]])), origin: first.origin, source: first.source_id, models: tables.map((one) => one.request?.model_id).filter(Boolean) });
    else if (!state.ids.length && (!state.source || !state.models)) {
      const source = state.source ?? sources.find((one) => one.state === "ready")?.id ?? null;
      update({ source, models: state.models ?? models.filter((one) => one.available).slice(0, 1).map((one) => one.id) });
    }
  }, [sources, models, first, state.source, state.models]);
  if (error && !sources) return html`<div class="page"><${Notice} kind="problem">${error.message}<//></div>`;
  if (!sources || !models) return html`<${Busy} />`;
  const source = sources.find((one) => one.id === state.source) ?? null;
  const start = async (settings, text) => {
    set({ busy: true, error: null });
    try {
      const symbols = await symbolsOf(source, text, limits?.symbols ?? 5000);
      const chosen = state.models.map((id) => models.find((one) => one.id === id)).filter(Boolean);
      const ids = [];
      for (const model of chosen) {
        const answer = await post("/forecasts", { ...request({ ...state, ...settings, symbol: "" }, model, chosen), symbols, interval: null });
        ids.push(answer.id);
      }
      open(false);
      update({ ...settings, ids, symbol: null, interval: null }, false);
      set({ busy: false, error: null });
      look();
    } catch (found) {
      set({ busy: false, error: found.message });
    }
  };
  return html`<div class="batching"><div class="work">
    <div class="left">
      <h1>${words.title}</h1>
      ${state.ids.length === 0 ? html`<p class="soft">${words.lead}</p><${Empty} title=${words.none[0]}><p>${words.none[1]}</p><//><${Earlier} />` : tables.length > 0 && html`<${Table} state=${state} update=${update} tables=${tables} sources=${sources} models=${models} /><p><a href="/batch">${words.another}</a></p>`}
    </div>
    <aside class=${`side ${sheet ? "open" : ""}`} aria-label=${texts.chart.settings}>
      <button type="button" class="sheet" aria-expanded=${sheet ? "true" : "false"} onClick=${() => open(!sheet)}>${texts.chart.settings}</button>
      <div class="body"><${Asking} state=${state} update=${update} sources=${sources} source=${source} models=${models} limits=${limits} start=${start} busy=${asking.busy} error=${asking.error} /></div>
    </aside>
  </div></div>`;
}
