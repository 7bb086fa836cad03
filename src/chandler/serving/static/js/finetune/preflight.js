// Whether bars do for a run: what is wrong on top, then the windows they give, then what stands out.
import { ENDED } from "../events.js";
import { moment } from "../format.js";
import { texts } from "../texts-work.js";
import { Busy, Notice, Scroll, html, integer } from "../ui.js";

const say = texts.finetune.preflight;

export const passed = (job) => job?.state === "finished" && job.result?.ok === true;

const trouble = (one) => one.bad_bars + one.gaps + one.jumps + one.duplicates + one.stale;

function Symbols({ result }) {
  const parts = Object.keys(result.windows);
  const rows = [...result.symbols].sort((a, b) => parts.every((part) => a.windows[part]) - parts.every((part) => b.windows[part]) || trouble(b) / b.rows - trouble(a) / a.rows);
  const shown = rows.slice(0, 30);
  const { columns } = say;
  return html`<details><summary>${say.symbols(result.symbols.length)}</summary>
    <${Scroll} label=${say.symbols(result.symbols.length)} tall><table>
      <thead><tr><th scope="col">${columns.symbol}</th><th scope="col">${columns.rows}</th><th scope="col">${columns.span}</th>
        ${parts.map((part) => html`<th key=${part} scope="col">${say.parts[part] ?? part}</th>`)}
        ${["gaps", "jumps", "bad_bars", "duplicates", "stale"].map((name) => html`<th key=${name} scope="col">${columns[name]}</th>`)}</tr></thead>
      <tbody>${shown.map((one) => html`<tr key=${one.symbol}><th scope="row">${one.symbol}</th><td>${integer(one.rows)}</td><td>${one.first.slice(0, 10)} – ${one.last.slice(0, 10)}</td>
        ${parts.map((part) => html`<td class=${one.windows[part] ? "" : "hot"}>${integer(one.windows[part])}</td>`)}
        ${["gaps", "jumps", "bad_bars", "duplicates", "stale"].map((name) => html`<td class=${one[name] ? "" : "soft"}>${integer(one[name])}</td>`)}</tr>`)}</tbody>
    </table><//>
    ${rows.length > shown.length && html`<small>${say.cut(shown.length, rows.length)}</small>`}
  </details>`;
}

/** The verdict of a preflight, as `inspect` has it. */
export function Verdict({ job, error, again }) {
  if (error) return html`<${Notice} kind="problem"><p class="told">${error.message}</p><button type="button" onClick=${again}>${say.again}</button><//>`;
  if (!job || !ENDED.has(job.state)) return html`<${Busy} text=${say.running} />`;
  const { result } = job;
  if (!result) return html`<${Notice} kind="problem"><p class="told">${job.message ?? say.died}</p><button type="button" onClick=${again}>${say.again}</button><//>`;
  const parts = Object.entries(result.windows);
  return html`<div class="verdict" data-ok=${result.ok ? "1" : "0"}>
    <p class=${result.ok ? "passes" : "blocks"}>${result.ok ? say.passes : say.blocks}</p>
    ${result.problems.map((one) => html`<${Notice} key=${one} kind="problem"><span class="told">${one}</span><//>`)}
    ${result.warnings.map((one) => html`<${Notice} key=${one} kind="warning"><span class="told">${one}</span><//>`)}
    <dl class="facts">
      <div><dt>${say.windowsOf}</dt><dd>${integer(result.lookback)} + ${integer(result.horizon)}</dd></div>
      ${parts.map(([part, count]) => html`<div key=${part}><dt>${say.windows(say.parts[part] ?? part)}</dt><dd class=${count ? "" : "hot"} data-windows=${part}>${integer(count)}</dd>
        ${result.split_spans?.[part] && html`<dd class="soft">${result.split_spans[part].join(" – ")}</dd>`}</div>`)}
      <div><dt>${say.columns.rows}</dt><dd>${integer(result.rows)}</dd></div>
    </dl>
    <${Symbols} result=${result} />
    <p class="row"><a href="/api/v1/reports/${job.id}" target="_blank" rel="noopener">${say.report}</a><button type="button" onClick=${again}>${say.again}</button></p>
  </div>`;
}

/** What stands in the way of a source before it can be looked at. */
export function NotReady({ source }) {
  return html`<${Notice} kind="warning"><p>${texts.chart.notReady(source.name, texts.data.states[source.state])}${source.message && html` <span class="told">${source.message}</span>`}</p><a href="/data">${texts.chart.toData}</a><//>`;
}

export const Span = ({ source }) => (source.first ? html`${moment(source.first, source)} – ${moment(source.last, source)}` : "");
