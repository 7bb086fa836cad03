// One step of a forecast: where its paths are, and how many of them are above a price.
import { get } from "../api.js";
import { moment } from "../format.js";
import { texts } from "../texts.js";
import { Field, Notice, html, number, percent, useAnswer, useEffect, useState } from "../ui.js";

const words = texts.chart.step;
const [WIDE, HIGH, FOOT] = [640, 170, 22];

function Histogram({ edges, counts, above, quantiles, paths }) {
  const [low, high] = [edges[0], edges.at(-1)];
  const x = (value) => ((value - low) / (high - low || 1)) * WIDE;
  const most = Math.max(...counts);
  const median = quantiles["0.5"] ?? quantiles[0.5];
  return html`<svg class="histogram" viewBox="0 0 ${WIDE} ${HIGH + FOOT}" role="img" aria-label=${words.picture(paths, number(low), number(high))}>
    ${counts.map((count, at) => {
      const tall = (count / most) * (HIGH - 8);
      return html`<rect key=${at} class=${above !== null && edges[at] >= above ? "above" : ""} x=${x(edges[at]) + 0.5} y=${HIGH - tall}
        width=${Math.max(0.5, x(edges[at + 1]) - x(edges[at]) - 1)} height=${tall}><title>${number(edges[at])} – ${number(edges[at + 1])}: ${count}</title></rect>`;
    })}
    <line class="base" x1="0" x2=${WIDE} y1=${HIGH} y2=${HIGH} />
    ${median !== undefined && html`<line class="median" x1=${x(median)} x2=${x(median)} y1="0" y2=${HIGH} />`}
    ${above !== null && above >= low && above <= high && html`<line class="limit" x1=${x(above)} x2=${x(above)} y1="0" y2=${HIGH} />`}
    ${[0, 0.25, 0.5, 0.75, 1].map(
      (part) => html`<text x=${part * WIDE} y=${HIGH + 16} text-anchor=${part === 0 ? "start" : part === 1 ? "end" : "middle"}>${number(low + part * (high - low), 4)}</text>`,
    )}
  </svg>`;
}

export function Step({ forecast, symbol, step, above, facts, update }) {
  const series = forecast.series[0];
  const { value, error } = useAnswer(() => (forecast.state === "done" ? get(`/forecasts/${forecast.id}/step`, { symbol, step, above }) : null), [forecast.id, forecast.state, symbol, step, above]);
  const [typed, type] = useState(above ?? "");
  useEffect(() => type(above ?? ""), [above]);
  const close = () => update({ step: null, above: null });
  return html`<section class="step" aria-labelledby="step-title" onKeyDown=${(event) => event.key === "Escape" && close()}>
    <header><h2 id="step-title">${words.title(step, moment(series.time[step - 1], facts, true))}</h2>
      <button type="button" class="plain" aria-label=${texts.close} onClick=${close}>×</button></header>
    ${error && html`<${Notice} kind="problem">${error.message}<//>`}
    ${value && html`<${Histogram} ...${value} above=${above} paths=${series.paths} />`}
    <form class="row" onSubmit=${(event) => (event.preventDefault(), update({ above: typed === "" ? null : Number(typed) }, true))}>
      <${Field} label=${words.above}><input id="above" type="number" step="any" value=${typed} placeholder=${number(series.last_close, 6)}
        onInput=${(event) => type(event.currentTarget.value)} onChange=${(event) => update({ above: event.currentTarget.value === "" ? null : Number(event.currentTarget.value) }, true)} /><//>
      <output id="p-above" for="above" data-share=${above !== null ? value?.p_above : ""}>${above !== null && typeof value?.p_above === "number" && words.answer(percent(value.p_above, 1), number(above, 6))}</output>
    </form>
    ${value && html`<dl class="quantiles" aria-label=${words.quantiles}>${Object.entries(value.quantiles).sort(([a], [b]) => a - b).map(
      ([level, at]) => html`<div key=${level}><dt>${percent(Number(level))}</dt><dd title=${at}>${number(at)}</dd></div>`,
    )}</dl>`}
  </section>`;
}
