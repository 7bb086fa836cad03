// Every forecast that was made here, and how the live ones did.
import { all, get, post } from "../api.js";
import { chartOf } from "../chart/address.js";
import { debounced, go, route, useStore } from "../core.js";
import { on } from "../events.js";
import { clock, moment } from "../format.js";
import { Pits } from "../pit.js";
import { useStock } from "../stock.js";
import { texts } from "../texts-work.js";
import { Busy, Empty, Field, Notice, Num, Scroll, Select, html, integer, number, percent, signedPercent, useAnswer, useEffect, useMemo, useState } from "../ui.js";

const words = texts.journal;
const FILTERS = ["model", "symbol", "live", "state"];

const share = ({ value, low, high, origins }, all) => html`<span title=${value}>${percent(value)}</span> ${low !== null && html`<small>${percent(low)} – ${percent(high)}</small>`}${origins < all && html` <small class="of">${words.ofOrigins(integer(origins), integer(all))}</small>`}`;

function Summary({ value }) {
  if (!value?.kept) return null;
  return html`<section aria-labelledby="record"><h2 id="record">${words.summary}</h2>
    <p id="counts" data-kept=${value.kept} data-scored=${value.scored} data-late=${value.late}>${words.counts(...["kept", "scored", "waiting", "due", "late"].map((name) => integer(value[name])))}${value.revised > 0 && ` ${words.revised(integer(value.revised))}`}</p>
    ${value.rows.length > 0 && html`<${Scroll} label=${words.summary}><table class="record">
      <thead><tr>${Object.entries(words.summaryColumns).map(([name, label]) => html`<th key=${name} scope="col">${label}</th>`)}</tr></thead>
      <tbody>${value.rows.map((row) => html`<tr key=${`${row.model} ${row.details} ${row.age}`}><th scope="row">${row.model} <small>${row.details}${row.age === "all" ? "" : `, ${row.age}`}</small></th>
        <td>${integer(row.forecasts)}</td><td>${integer(row.origins)}</td>
        ${row.enough
          ? html`${["50", "80", "90"].map((level) => html`<td key=${level}>${share(row.coverage[level], row.origins)}</td>`)}<td><${Num} value=${row.crps} digits=${3} /></td><td><${Num} value=${row.naive_crps} digits=${3} /></td>
            <td><span title=${row.crps_against_naive}>${row.crps_against_naive === null ? "–" : signedPercent(row.crps_against_naive, 1)}</span> <small>${row.verdict}</small></td>`
          : html`<td colspan="6" class="soft">${words.few}</td>`}</tr>`)}</tbody>
    </table><//><p class="soft">${words.measures}${value.older > 0 && ` ${words.older(integer(value.older))}`}</p><${Pits} rows=${value.rows} />`}
    ${value.rows.length === 0 && html`<p class="soft">${words.noneScored}</p>`}
  </section>`;
}

/** Bars that came by another way than a source being read: what came of a look at them. */
function Score({ sources, again }) {
  const ready = (sources ?? []).filter((one) => one.state === "ready");
  const [source, choose] = useState("");
  const [told, set] = useState(null);
  const [busy, work] = useState(false);
  const look = async () => {
    work(true);
    set(await post("/journal/score", { source_id: source || ready[0].id }).then(({ lines }) => lines, (error) => [{ about: words.problem, text: error.message }]));
    work(false);
    again();
  };
  if (!ready.length) return null;
  return html`<div class="row scoring"><${Field} label=${words.against}><${Select} value=${source || ready[0].id} onChange=${choose} options=${ready.map((one) => [one.id, one.name])} /><//>
      <button type="button" disabled=${busy} onClick=${look}>${words.score}</button>
      <a class="button" href="/api/v1/journal/export" download>${words.export}</a></div>
    <div role="status">${told && html`<dl class="told-of">${told.map(({ about, text }) => html`<div><dt>${about}</dt><dd>${text}</dd></div>`)}</dl>`}</div>`;
}

const NEAR = 1e-6;
/** The chart of an entry as it was asked for, of the source it was made of, else of one with the very bar; null where none has it. */
async function chartOfEntry(one, sources, models) {
  const asked = one.request;
  const ready = (sources ?? (await all("/sources", "sources"))).filter((each) => each.state === "ready");
  for (const { id } of ready.sort((a, b) => (b.id === asked.source_id) - (a.id === asked.source_id))) {
    const { symbols } = await get(`/sources/${id}/symbols`, { q: one.symbol.slice(0, 64), limit: 50 });
    if (!symbols.some((other) => other.symbol === one.symbol)) continue;
    const { time, close, last } = await get(`/sources/${id}/bars`, { symbol: one.symbol, to: one.origin_time, limit: 10 });
    if (time.at(-1) !== one.origin_time) continue;
    // Its own source is the right one, also where a split has scaled its prices since.
    if (id !== asked.source_id && !(Math.abs(close.at(-1) / one.last_close - 1) < NEAR)) continue;
    const model_id = asked.model_id ?? models?.find((other) => other.name === one.model)?.id;
    return chartOf({ ...asked, source_id: id, model_id, origin: last === one.origin_time ? null : one.origin_time }, one.symbol);
  }
  return null;
}

export function View() {
  const { query } = useStore(route);
  const chosen = useMemo(() => Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""])), [query.toString()]);
  const put = (name, value) => {
    const now = new URLSearchParams(location.search);
    if (value) now.set(name, value);
    else now.delete(name);
    go("/journal", now, true);
  };
  const [typed, type] = useState(chosen.symbol);
  const late = useMemo(() => debounced((text) => put("symbol", text), 300), []);
  const { sources, models } = useStock();
  const ask = (cursor) => get("/journal", { limit: 100, cursor, ...chosen });
  const { value, error, again } = useAnswer(() => ask(null), [chosen]);
  const summary = useAnswer(() => get("/journal/summary"), []);
  const [lost, lose] = useState(null);
  const [more, add] = useState({ of: null, rows: [] }); // belongs to one answer, and is gone with it
  const later = more.of === value ? more : { of: value, rows: [], next: value?.next };
  const rows = [...(value?.entries ?? []), ...later.rows];
  const anew = () => (again(), summary.again());
  useEffect(() => {
    // A table of many symbols tells of many: once it is quiet is soon enough.
    const soon = debounced(anew, 400);
    const end = on({ forecast: ({ state }) => state === "done" && soon(), journal: soon, resync: soon });
    return () => (soon.cancel(), end());
  }, [chosen]);
  const further = async () => {
    const found = await ask(later.next);
    add({ of: value, rows: [...later.rows, ...found.entries], next: found.next });
  };
  const open = (event, one) => {
    if (event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    lose(null);
    chartOfEntry(one, sources, models).then((to) => (to ? go("/chart", to) : lose(words.lost(one.symbol))), (error) => lose(error.message));
  };
  const { columns } = words;
  const filtered = FILTERS.some((name) => chosen[name]);
  const choice = (name, options) => html`<${Field} label=${words.filters[name]}><${Select} id="by-${name}" value=${chosen[name]} onChange=${(one) => put(name, one)} options=${[["", words.all], ...options]} /><//>`;
  return html`<div class="page wide"><h1>${words.title}</h1><p class="soft">${words.lead}</p>
    ${(error ?? summary.error) && html`<${Notice} kind="problem">${(error ?? summary.error).message}<//>`}
    <${Summary} value=${summary.value} />
    ${!value && !error && html`<${Busy} />`}
    ${value && value.total === 0 && !filtered && html`<${Empty} title=${words.none[0]}><p>${words.none[1]}</p><p><a class="button" href="/chart">${texts.pages.chart}</a></p><//>`}
    ${value && (value.total > 0 || filtered) && html`<${Score} sources=${sources} again=${anew} />
    <h2>${words.entries}</h2>
    <div class="row">
      ${choice("model", value.models.map((one) => [one, one]))}
      <${Field} label=${words.filters.symbol}><input id="by-symbol" type="search" value=${typed} onInput=${(event) => (type(event.currentTarget.value), late(event.currentTarget.value))} /><//>
      ${choice("live", [["true", words.live], ["false", words.retrospective]])}
      ${choice("state", [["waiting", words.waiting], ["scored", words.whole]])}
      <span class="soft" role="status" id="entries" data-total=${value.total}>${words.total(integer(value.total))}</span>
    </div>
    ${lost && html`<${Notice} kind="problem" close=${() => lose(null)}>${lost}<//>`}
    <${Scroll} label=${words.title}><table class="journal">
      <thead><tr>${["symbol", "made", "model", "origin", "horizon", "kind", "state"].map((one) => html`<th key=${one} scope="col">${columns[one]}</th>`)}</tr></thead>
      <tbody>${rows.map((one) => html`<tr key=${one.id} data-entry=${one.id}>
        <th scope="row"><a href=${`/chart?${chartOf({ ...one.request, origin: one.origin_time }, one.symbol)}`} onClick=${(event) => open(event, one)}>${one.symbol}</a></th><td>${clock(one.made_at)}</td><td>${one.model}${one.calibrated && html` <small>${words.calibrated}</small>`}</td>
        <td>${moment(one.origin_time, one)}</td>
        <td>${integer(one.horizon)}</td><td>${one.live ? words.live : words.retrospective}</td><td>${words.scored(number(one.scored_steps), integer(one.horizon))}</td>
      </tr>`)}</tbody></table><//>
    ${later.next && html`<button type="button" onClick=${further}>${words.more}</button>`}`}
  </div>`;
}
