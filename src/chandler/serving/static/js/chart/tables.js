// The chart in numbers, for whoever does not see it or wants to copy them.
import { moment } from "../format.js";
import { texts } from "../texts.js";
import { Num, Scroll, html, percent } from "../ui.js";

const words = texts.chart.tables;
const MOST = 200;

export function StepTable({ series, facts, truth, choose }) {
  const levels = series.levels.map((level) => percent(level));
  const happened = truth && series.truth;
  return html`<${Scroll} label=${words.forecast} tall><table class="steps"><caption><b>${words.forecast}</b></caption>
    <thead><tr><th scope="col">${words.step}</th><th scope="col">${words.time}</th>${levels.map((one) => html`<th scope="col">${one}</th>`)}
      <th scope="col">${words.up}</th>${happened && html`<th scope="col">${words.truth}</th><th scope="col">${words.crps}</th>`}</tr></thead>
    <tbody>${series.time.map(
      (time, step) => html`<tr key=${time}>
        <td><button type="button" aria-label=${words.distribution(step + 1)} onClick=${() => choose(step + 1)}>${step + 1}</button></td><td>${moment(time, facts)}</td>
        ${series.quantiles.map((level) => html`<td><${Num} value=${level[step]} /></td>`)}<td>${percent(series.p_up[step])}</td>
        ${happened && html`<td>${step < happened.close.length ? html`<${Num} value=${happened.close[step]} />` : "–"}</td><td><${Num} value=${series.scores?.crps_by_step?.[step]} digits=${3} /></td>`}
      </tr>`,
    )}</tbody>
  </table><//>`;
}

export function BarTable({ bars, from, to, facts, hiddenAfter }) {
  const seen = bars.time.map((_, at) => at).filter((at) => bars.time[at] >= from && bars.time[at] <= to && (hiddenAfter === null || bars.time[at] <= hiddenAfter));
  const rows = seen.slice(-MOST).reverse();
  const columns = ["open", "high", "low", "close", ...(bars.volume ? ["volume"] : [])];
  return html`<${Scroll} label=${words.bars} tall><table class="bars"><caption><b>${words.bars}</b> ${seen.length > MOST && words.cut(MOST, seen.length)}</caption>
    <thead><tr><th scope="col">${words.time}</th>${columns.map((one) => html`<th scope="col">${texts.chart[one]}</th>`)}</tr></thead>
    <tbody>${rows.map((at) => html`<tr key=${bars.time[at]}><td>${moment(bars.time[at], facts)}</td>${columns.map((one) => html`<td><${Num} value=${bars[one][at]} digits=${6} /></td>`)}</tr>`)}</tbody>
  </table><//>`;
}
