// What a table is asked with: a source, all or some of its symbols, and the settings of a forecast.
import { all } from "../api.js";
import { daily, fieldTime, fieldValue } from "../format.js";
import { texts } from "../texts-work.js";
import { Field, Notice, Select, html, integer, useState } from "../ui.js";
import { Panel } from "../chart/panel.js";

const words = texts.batch;

/** Symbols as they were typed: one a line, or with commas. */
export const typed = (text) => [...new Set(text.split(/[\n,;]+/).map((one) => one.trim()).filter(Boolean))];

/** The names to be asked for: those that were typed, or all there are. */
export async function symbolsOf(source, text, most) {
  const some = typed(text);
  const names = some.length ? some : (await all(`/sources/${source.id}/symbols`, "symbols")).map((one) => one.symbol);
  if (names.length > most) throw new Error(words.tooMany(integer(names.length), integer(most)));
  return names;
}

export function Asking({ state, update, sources, source, models, limits, start, busy, error }) {
  const [text, type] = useState("");
  const facts = source && { zone: source.zone, step_seconds: source.step_seconds };
  const some = typed(text);
  const origin = (event) => {
    const asked = event.currentTarget.value ? fieldTime(event.currentTarget.value, facts) : null;
    update({ origin: Number.isFinite(asked) && asked < source.last ? asked : null });
  };
  return html`<div class="asking">
    <${Field} label=${texts.chart.source}>
      <${Select} id="source" value=${state.source} onChange=${(id) => (type(""), update({ source: id, origin: null }))}
        options=${sources.map((one) => [one.id, one.state === "ready" ? `${one.name} (${words.symbols(integer(one.symbols))})` : `${one.name} (${texts.data.states[one.state]})`, one.state !== "ready"])} />
    <//>
    <details open=${some.length > 0}><summary>${some.length ? words.chosen(integer(some.length)) : words.whole(integer(source?.symbols))}</summary>
      <${Field} label=${words.which}><textarea id="chosen" rows="4" spellcheck=${false} placeholder=${words.example} value=${text} onInput=${(event) => type(event.currentTarget.value)}></textarea><//>
    </details>
    ${source && html`<${Field} label=${words.origin} help=${words.originHelp}>
      <input id="last" type=${daily(source.step_seconds) ? "date" : "datetime-local"} max=${fieldValue(source.last, facts)} value=${state.origin === null ? "" : fieldValue(state.origin, facts)} onChange=${origin} /><//>`}
    <${Panel} state=${{ ...state, models: state.models ?? [] }} models=${models} limits=${limits} update=${update} most=${2} go=${(settings) => start(settings, text)} busy=${busy} />
    ${error && html`<${Notice} kind="problem">${error}<//>`}
  </div>`;
}
