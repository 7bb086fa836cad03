// What the forecasts say in numbers, a line for each model, and what must be known before one believes them.
import { moment } from "../format.js";
import { texts } from "../texts.js";
import { Notice, Num, Progress, Scroll, html, number, percent, seconds, signedPercent } from "../ui.js";
import { pending } from "./forecasts.js";
import { Hatch, shaded } from "./known.js";
import { STYLES } from "./looks.js";

const words = texts.chart;

/** The line of a model as the chart draws it. */
export const Swatch = ({ style }) =>
  html`<svg class="swatch ${style.name}" viewBox="0 0 30 10" width="30" height="10" aria-hidden="true"><line x1="0" y1="5" x2="30" y2="5" stroke-dasharray=${style.dash.join(" ")} /></svg>`;

export function Legend({ lines, focus, truth, raw, known, facts }) {
  const bands = shaded(known);
  if (!focus && !bands.length) return null;
  return html`<ul class="legend">
    <li><i class="candle"></i>${words.legend.history}</li>
    ${truth > 0 && html`<li><i class="candle truth"></i>${words.legend.truth}</li>`}
    ${lines.map(
      ({ id, name, style }) =>
        html`<li key=${id}><${Swatch} style=${style} />${name}: ${id === focus?.id ? `${words.legend.bands}, ${words.legend.median}` : words.legend.outline}</li>`,
    )}
    ${raw && html`<li><i class="dots"></i>${words.legend.raw}</li>`}
    ${bands.map(({ kind, to, says }) => html`<li key=${kind} data-known=${kind} title=${says}><${Hatch} kind=${kind} />${words.legend.known[kind](moment(to, facts))}</li>`)}
  </ul>`;
}

function State({ run, desk, id }) {
  const { state, progress, error } = run;
  if (pending(run)) {
    const label = state === "waiting" && run.position ? words.position(run.position) : words.states[state];
    return html`<span class="running">
      <${Progress} label=${label} done=${progress?.done} total=${progress?.total} /> ${label}
      ${run.id && html`<button type="button" onClick=${() => desk.cancel(id)}>${words.cancel}</button>`}
    </span>`;
  }
  if (state === "failed" || state === "cancelled") {
    return html`<span class=${state === "failed" ? "hot" : ""}>${words.states[state]}</span> <button type="button" onClick=${() => desk.again(id)} title=${error?.message ?? ""}>${words.again}</button>`;
  }
  return run.forecast?.cached ? html`<span class="soft">${words.cached}</span>` : null;
}

export function Models({ lines, focus, desk, choose }) {
  if (!lines.length) return null;
  const scored = lines.some(({ run }) => run?.forecast?.series[0].scores);
  return html`<${Scroll} label=${words.of}><table class="models">
    <thead><tr>${["model", "median", "band", "up", "volatility", ...(scored ? ["crps"] : []), "seconds", "state"].map((one) => html`<th scope="col">${words.table[one]}</th>`)}</tr></thead>
    <tbody>${lines.map(({ id, name, style, run }) => {
      const forecast = run?.forecast;
      const one = forecast?.series[0];
      const at = one && one.time.length - 1;
      return html`<tr key=${id} data-model=${name} data-state=${run?.state}>
        <th scope="row"><label><input type="radio" name="focus" aria-label=${words.focus(name)} checked=${id === focus?.id} onChange=${() => choose(id)} />
          <${Swatch} style=${style} /> ${name}</label></th>
        <td>${one && html`<${Num} value=${one.quantiles[3][at]} /> <small>${signedPercent(one.quantiles[3][at] / one.last_close - 1)}</small>`}</td>
        <td>${one && html`<${Num} value=${one.quantiles[1][at]} /> – <${Num} value=${one.quantiles[5][at]} />`}</td>
        <td>${one && percent(one.p_up[at])}</td>
        <td>${one && html`<span title=${one.volatility}>${percent(one.volatility, 2)}</span>`}</td>
        ${scored && html`<td>${one?.scores && html`<${Num} value=${one.scores.crps} digits=${4} />`}</td>`}
        <td>${forecast && seconds(forecast.seconds)} <small>${one && words.pathsOf(one.paths, forecast.request.paths)}</small></td>
        <td class="state"><${State} run=${run ?? { state: "asked" }} desk=${desk} id=${id} /></td>
      </tr>`;
    })}</tbody>
  </table><//>`;
}

/** How the forecast in focus did, where there are bars behind the origin. */
export function Scores({ series, shown }) {
  const scores = series?.scores;
  if (!scores) return null;
  if (!shown) return html`<p class="scores soft">${words.hidden}</p>`;
  return html`<p class="scores" id="scores" data-crps=${scores.crps} data-error=${scores.error} data-rank=${scores.rank} data-steps=${scores.steps}>
    <b>${words.scores}</b> <span class="soft">${words.score.steps(scores.steps, series.time.length)}</span>
    <span>${words.score.crps} <b><${Num} value=${scores.crps} digits=${4} /></b></span>
    <span>${words.score.error} <b><${Num} value=${scores.error} digits=${4} /></b></span>
    ${["50", "80", "90"].map((level) => html`<span key=${level}>${words.score.inside(level)} <b>${percent(scores.inside[level])}</b></span>`)}
    <span>${words.score.rank} <b>${percent(scores.rank)}</b></span>
  </p>`;
}

/** What the reader must know, before the numbers. */
export function Warnings({ state, focus, errors }) {
  const series = focus?.run?.forecast?.series[0];
  const request = focus?.run?.request;
  return html`
    ${errors.map((one) => html`<${Notice} key=${one} kind="problem">${one}<//>`)}
    ${series?.exposure && html`<div class="exposure"><${Notice} kind="warning"><b>${words.exposure(series.exposure.mark)}</b> ${series.exposure.says}<//></div>`}
    ${request && (request.temperature < 1 || request.top_p < 1) && html`<${Notice} kind="warning">${words.narrower}<//>`}
  `;
}

/** How the steps are dated, and what else was noted. */
export function Notes({ forecast, facts }) {
  const series = forecast?.series[0];
  if (!series) return null;
  const notes = [...new Set(series.notes)];
  return html`<div class="notes soft">
    <p>${words.dated[series.dated_by] ? `${words.dated[series.dated_by]}.` : words.datedBy(series.dated_by)} ${moment(series.time[0], facts)} – ${moment(series.time.at(-1), facts, true)}.</p>
    ${notes.map((one) => html`<p key=${one}>${one}</p>`)}
    ${forecast.request.interval && html`<p>${words.notKept}</p>`}
    ${forecast.says && html`<p><b>${words.calibration}:</b> ${forecast.says}</p>`}
  </div>`;
}

export const styleOf = (at) => STYLES[at % STYLES.length];
export const price = (value) => number(value, 6);
