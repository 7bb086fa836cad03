// Every forecast that was made here, and how the live ones did.
import { get } from "../api.js";
import { debounced } from "../core.js";
import { on } from "../events.js";
import { clock, moment } from "../format.js";
import { texts } from "../texts.js";
import { Busy, Empty, Field, Notice, Num, html, integer, percent, useAnswer, useEffect, useMemo, useState } from "../ui.js";

const words = texts.journal;

function Summary() {
  const { value, error } = useAnswer(() => get("/journal/summary"), []);
  if (error || !value?.rows.length) return null;
  return html`<h2>${words.summary}</h2>${value.text && html`<p>${value.text}</p>`}
    <div class="scroll" tabindex="0" role="region" aria-label=${words.summary}><table>
      <thead><tr>${Object.entries(words.summaryColumns).map(([name, label]) => html`<th key=${name} scope="col">${label}</th>`)}</tr></thead>
      <tbody>${value.rows.map((row) => html`<tr><th scope="row">${row.model} <small>${row.age ?? ""}</small></th><td>${integer(row.forecasts)}</td>
        ${row.enough
          ? html`<td><${Num} value=${row.crps} digits=${4} /></td><td><${Num} value=${row.naive_crps} digits=${4} /></td><td><${Num} value=${row.ratio} digits=${3} /></td><td>${percent(row.inside80)}</td><td>${percent(row.inside90)}</td>`
          : html`<td colspan="5" class="soft">${words.few}</td>`}</tr>`)}</tbody>
    </table></div>`;
}

const href = (one) => `/chart?${new URLSearchParams({
  ...(one.source_id ? { source: one.source_id } : {}), symbol: one.symbol, origin: one.origin_time, h: one.horizon, ...(one.model_id ? { models: one.model_id } : {}),
})}`;

export function View() {
  const [filter, set] = useState("");
  const [typed, type] = useState("");
  const late = useMemo(() => debounced(set, 250), []);
  const [rows, add] = useState([]);
  const ask = (cursor) => get("/journal", { limit: 100, cursor });
  const { value, error, again } = useAnswer(() => ask(null), []);
  const [next, follow] = useState(null);
  useEffect(() => {
    if (!value) return;
    add(value.entries);
    follow(value.next);
  }, [value]);
  useEffect(() => {
    const ends = [on("forecast", ({ state }) => state === "done" && again()), on("journal", again), on("resync", again)];
    return () => ends.forEach((end) => end());
  }, []);
  const more = async () => {
    const found = await ask(next);
    add((old) => [...old, ...found.entries]);
    follow(found.next);
  };
  const seen = rows.filter((one) => !filter || `${one.model} ${one.symbol}`.toLowerCase().includes(filter.toLowerCase()));
  const { columns } = words;
  return html`<div class="page wide"><h1>${words.title}</h1><p class="soft">${words.lead}</p>
    ${error && html`<${Notice} kind="problem">${error.message}<//>`}
    <${Summary} />
    ${!value && !error && html`<${Busy} />`}
    ${value && rows.length === 0 && html`<${Empty} title=${words.none[0]}><p>${words.none[1]}</p><p><a class="button" href="/chart">${texts.pages.chart}</a></p><//>`}
    ${rows.length > 0 && html`<${Field} label=${words.filter}><input type="search" value=${typed} onInput=${(event) => (type(event.currentTarget.value), late(event.currentTarget.value))} /><//>
    <div class="scroll" tabindex="0" role="region" aria-label=${words.title}><table class="journal">
      <thead><tr>${["symbol", "made", "model", "origin", "horizon", "kind", "state"].map((one) => html`<th key=${one} scope="col">${columns[one]}</th>`)}</tr></thead>
      <tbody>${seen.map((one) => html`<tr key=${one.id}>
        <th scope="row"><a href=${href(one)}>${one.symbol}</a></th><td>${clock(one.made_at)}</td><td>${one.model}</td>
        <td>${moment(one.origin_time, { step_seconds: one.step_seconds ?? (one.origin_time % 86400 ? 60 : 86400), zone: one.zone ?? null })}</td>
        <td>${integer(one.horizon)}</td><td>${one.live ? words.live : words.retrospective}</td><td>${words.scored(integer(one.scored_steps ?? 0), integer(one.horizon))}</td>
      </tr>`)}</tbody></table></div>`}
    ${next && html`<button type="button" onClick=${more}>${words.more}</button>`}
  </div>`;
}
