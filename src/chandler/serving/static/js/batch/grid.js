// A table of any number of rows, of which those in sight are there: worked by hand and by keys.
import { texts } from "../texts-work.js";
import { Num, html, number, percent, seconds, signedPercent, useEffect, useLayoutEffect, useRef, useState } from "../ui.js";

const words = texts.batch;
/** Pixels of a row, as studio.css has it. */
const ROW = 32;
const SPARE = 8;
const PAGE = 10;

const share = (value) => html`<${Num} value=${value} form=${(one) => (one === null ? "–" : signedPercent(one))} />`;
const price = (row, value) => (value === null ? "" : number(row.last_close * (1 + value), 6));
const band = (row, low, high) =>
  row[low] === null ? "–" : html`<span title="${price(row, row[low])} – ${price(row, row[high])}">${signedPercent(row[low])} … ${signedPercent(row[high])}</span>`;

/** name -> what a cell shows; symbol comes before. */
const CELLS = {
  model: (row) => row.model,
  last: (row) => html`<${Num} value=${row.last_close} digits=${6} />`,
  median: (row) => share(row.median_return),
  mean: (row) => share(row.mean_return),
  band50: (row) => band(row, "low50", "high50"),
  band80: (row) => band(row, "low80", "high80"),
  p_up: (row) => html`<span title=${row.p_up}>${percent(row.p_up)}</span>`,
  volatility: (row) => html`<span title=${row.volatility}>${percent(row.volatility, 2)}</span>`,
  exposure: (row) => row.exposure && html`<span class="mark exposed" title=${words.exposed}>${row.exposure}</span>`,
  notes: (row) => row.notes && html`<span title=${row.notes}>${row.notes}</span>`,
  seconds: (row) => html`<span title=${row.seconds}>${seconds(row.seconds)}</span>`,
};

function Head({ name, sort, choose }) {
  const own = sort === name || sort === `-${name}`;
  const down = sort === `-${name}`;
  // Names from A on, numbers from the greatest down; then the other way, then as they came.
  const textual = ["symbol", "model", "exposure", "notes"].includes(name);
  const [first, second] = textual ? [name, `-${name}`] : [`-${name}`, name];
  const next = sort === first ? second : sort === second ? null : first;
  return html`<th scope="col" class=${`c-${name}`} aria-sort=${own ? (down ? "descending" : "ascending") : undefined}>
    <button type="button" class="head" title=${words.sorts[name] ?? words.sorts.any} onClick=${() => choose(next)}>${words.columns[name]}<i aria-hidden="true">${own ? (down ? "▼" : "▲") : ""}</i></button></th>`;
}

export function Grid({ rows, models, sort, choose, open, link }) {
  const box = useRef(null);
  const [top, scroll] = useState(0);
  const [height, measure] = useState(480);
  const [active, point] = useState(0);
  useLayoutEffect(() => {
    const watch = new ResizeObserver(() => box.current && measure(box.current.clientHeight));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  // Other rows: from the top again; more rows of the same: where one is.
  useEffect(() => {
    box.current.scrollTop = 0;
    point(0);
  }, [sort, models]);
  const at = Math.min(active, rows.length - 1);
  const first = Math.max(0, Math.min(Math.floor(top / ROW), rows.length) - SPARE);
  const last = Math.min(rows.length, first + Math.ceil(height / ROW) + 2 * SPARE);
  const names = Object.keys(CELLS).filter((name) => name !== "model" || models > 1);

  const go = (to) => {
    const next = Math.max(0, Math.min(rows.length - 1, to));
    point(next);
    const { scrollTop, clientHeight } = box.current;
    // The head covers the first row of what is in sight.
    if (next * ROW < scrollTop) box.current.scrollTop = next * ROW;
    else if ((next + 2) * ROW > scrollTop + clientHeight) box.current.scrollTop = (next + 2) * ROW - clientHeight;
  };
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: PAGE, PageUp: -PAGE, Home: -Infinity, End: Infinity };
  const key = (event) => {
    if (event.target !== event.currentTarget || !rows.length) return;
    if (event.key in steps) go(at + steps[event.key]);
    else if (event.key === "Enter") open(rows[at]);
    else return;
    event.preventDefault();
  };
  return html`<div class="scroll big" ref=${box} onScroll=${(event) => scroll(event.currentTarget.scrollTop)} data-rows=${rows.length}>
    <table role="grid" class=${models > 1 ? "two" : ""} tabindex="0" aria-label=${words.table} aria-rowcount=${rows.length + 1} aria-activedescendant=${rows.length ? `row-${at}` : undefined} onKeyDown=${key}>
      <thead><tr aria-rowindex="1"><${Head} name="symbol" sort=${sort} choose=${choose} />${names.map((name) => html`<${Head} key=${name} name=${name} sort=${sort} choose=${choose} />`)}</tr></thead>
      <tbody>
        <tr class="spare" aria-hidden="true"><td colspan=${names.length + 1} height=${first * ROW}></td></tr>
        ${rows.slice(first, last).map((row, offset) => {
          const number = first + offset;
          return html`<tr key=${row.key} id="row-${number}" aria-rowindex=${number + 2} aria-selected=${number === at ? "true" : "false"} data-symbol=${row.symbol}
            onClick=${(event) => (point(number), event.target.closest("a") || open(row))}>
            <th scope="row" title=${row.symbol}><a href=${link(row)} tabindex="-1">${row.symbol}</a></th>
            ${row.failed
              ? html`${models > 1 && html`<td class="c-model">${row.model}</td>`}<td class="c-failed hot" colspan=${names.length - (models > 1 ? 1 : 0)} title=${row.failed}>${row.failed}</td>`
              : names.map((name) => html`<td key=${name} class=${`c-${name}`}>${CELLS[name](row)}</td>`)}
          </tr>`;
        })}
        <tr class="spare" aria-hidden="true"><td colspan=${names.length + 1} height=${(rows.length - last) * ROW}></td></tr>
      </tbody>
    </table>
  </div>`;
}
