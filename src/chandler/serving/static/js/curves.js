// Loss curves, drawn as SVG: it follows the colours of the page, prints, and says in words and in a table what it shows.
import { texts } from "./texts-work.js";
import { Num, Scroll, html, integer, number, useEffect, useRef, useState } from "./ui.js";

const words = texts.curves;
/** Points of a line at most, and rows of the table. */
const MOST = 2000;
const ROWS = 400;
/** Series are told apart by a colour (classes of these numbers in studio.css), a dash and the shape of their points. */
const DASHES = [null, "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2"];
const [TOP, RIGHT, BOTTOM, LEFT, HEIGHT] = [12, 14, 40, 52, 280];

/** Every so many of them, the last one too. */
function thinned(points, most) {
  const every = Math.ceil(points.length / most);
  return every < 2 ? points : points.filter((_, at) => at % every === 0 || at === points.length - 1);
}

/** Round numbers from `low` to `high`, about `count` of them, as [number, text]. */
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) + 0; at * step <= high + step * 1e-9; at++) found.push(at * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) + (step / power === 2.5);
  return found.map((one) => [one, one.toFixed(digits).replace("-", "\u2212")]);
}

/** 1, 2 and 5 of each power of ten between two positive numbers; powers alone where these would be many. */
function powers(low, high) {
  const first = Math.floor(Math.log10(low));
  const all = Array.from({ length: Math.ceil(Math.log10(high)) - first + 1 }, (_, at) => first + at);
  const marks = all.length > 4 ? [1] : [1, 2, 5];
  return all.flatMap((power) => marks.map((one) => one * 10 ** power)).filter((one) => one >= low && one <= high);
}

/** Where steps and values lie. Losses that fall by more than a factor of five get a logarithmic axis, as in the reports. */
function scales(series, width, steps) {
  const all = series.flatMap((one) => [...one.train, ...one.validation]);
  const values = [...all.map(([, value]) => value), ...series.map((one) => one.start).filter((one) => one !== null)];
  const [least, most] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const logarithmic = least > 0 && most / least > 5;
  const [to, from] = logarithmic ? [Math.log10, (value) => 10 ** value] : [(value) => value, (value) => value];
  const room = (to(most) - to(least) || Math.abs(to(most)) || 1) * 0.06;
  const [low, high] = [to(least) - room, to(most) + room];
  const last = all.reduce((found, [step]) => Math.max(found, step), steps ?? 1);
  const rounds = logarithmic ? powers(from(low), from(high)).map((one) => [one, one < 1e5 ? number(one, 3) : one.toExponential(0).replace("e+", "e")]) : ticks(low, high, 5);
  return {
    last, rounds, logarithmic,
    x: (step) => LEFT + (step / last) * (width - LEFT - RIGHT),
    y: (value) => TOP + ((high - to(value)) / (high - low)) * (HEIGHT - TOP - BOTTOM),
  };
}

const line = (points, { x, y }) => points.map(([step, value], at) => `${at ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");

/** A validation: a dot, a square, a triangle, by the number of the series. */
function Point({ at, x, y, told }) {
  const title = html`<title>${told}</title>`;
  if (at % 3 === 1) return html`<rect x=${x - 3.5} y=${y - 3.5} width="7" height="7">${title}</rect>`;
  if (at % 3 === 2) return html`<path d="M${x} ${y - 4.5}l4.5 8h-9z">${title}</path>`;
  return html`<circle cx=${x} cy=${y} r="4">${title}</circle>`;
}

function Axes({ to, width }) {
  const bottom = HEIGHT - BOTTOM;
  const across = ticks(0, to.last, Math.max(2, Math.floor(width / 84))).map(([step]) => step);
  return html`<g class="axes">
    ${to.rounds.map(([value, text]) => html`<line x1=${LEFT} x2=${width - RIGHT} y1=${to.y(value)} y2=${to.y(value)} /><text x=${LEFT - 8} y=${to.y(value) + 4} text-anchor="end">${text}</text>`)}
    ${across.filter(Number.isInteger).map((step) => html`<text x=${to.x(step)} y=${bottom + 16} text-anchor=${step === to.last ? "end" : "middle"}>${integer(step)}</text>`)}
    <line class="base" x1=${LEFT} x2=${width - RIGHT} y1=${bottom} y2=${bottom} />
    <text x=${(LEFT + width - RIGHT) / 2} y=${HEIGHT - 4} text-anchor="middle">${words.step}</text>
  </g>`;
}

function One({ one, at, to, width }) {
  const best = one.validation.find(([step]) => step === one.best);
  return html`<g class="curve s${at}" data-name=${one.name} data-train=${one.train.length} data-validation=${one.validation.length} data-start=${one.start} data-best=${one.best}>
    ${one.train.length > 0 && html`<path class="train" d=${line(thinned(one.train, MOST), to)} />`}
    ${one.start !== null && html`<line class="start" x1=${LEFT} x2=${width - RIGHT} y1=${to.y(one.start)} y2=${to.y(one.start)} />`}
    <path class="validation" stroke-dasharray=${DASHES[at]} d=${line(thinned(one.validation, MOST), to)} />
    ${thinned(one.validation, 200).map(([step, value]) => html`<${Point} key=${step} at=${at} x=${to.x(step)} y=${to.y(value)} told=${words.point(one.name, step, number(value))} />`)}
    ${best && html`<circle class="best" cx=${to.x(best[0])} cy=${to.y(best[1])} r="9"><title>${words.bestAt(best[0], number(best[1]))}</title></circle>`}
  </g>`;
}

const Key = ({ at, kind }) => html`<svg class="key curve s${at}" width="30" height="14" aria-hidden="true">
  ${kind === "train" && html`<path class="train" d="M1 7h28" />`}
  ${kind === "start" && html`<line class="start" x1="1" x2="29" y1="7" y2="7" />`}
  ${kind === "validation" && html`<path class="validation" stroke-dasharray=${DASHES[at]} d="M1 7h28" /><${Point} at=${at} x=${15} y=${7} told="" />`}
  ${kind === "best" && html`<circle class="best" cx="15" cy="7" r="6" />`}
</svg>`;

function Legend({ series }) {
  const has = (each) => series.some(each);
  const alone = series.length === 1;
  return html`<ul class="legend">
    ${series.map((one, at) => html`<li key=${at}><${Key} at=${at} kind="validation" />${alone ? words.validation : one.name}</li>`)}
    ${has((one) => one.train.length) && html`<li><${Key} at=${alone ? 0 : "n"} kind="train" />${words.training}</li>`}
    ${has((one) => one.start !== null) && html`<li><${Key} at=${alone ? 0 : "n"} kind="start" />${words.start}</li>`}
    ${has((one) => one.best !== null) && html`<li><${Key} at=${alone ? 0 : "n"} kind="best" />${words.best}</li>`}
  </ul>`;
}

function Table({ series, label }) {
  const known = series.map(({ train, validation }) => [new Map(train), new Map(validation)]);
  const validated = new Set(series.flatMap((one) => one.validation.map(([step]) => step)));
  const trained = [...new Set(series.flatMap((one) => one.train.map(([step]) => step)))].sort((a, b) => a - b);
  const rows = [...new Set([...validated, ...thinned(trained, ROWS)])].sort((a, b) => a - b);
  return html`<${Scroll} label=${label} tall><table>
    <thead><tr><th scope="col">${words.step}</th>${series.map((one) => html`<th scope="col">${one.name}: ${words.training}</th><th scope="col">${one.name}: ${words.validation}</th>`)}</tr></thead>
    <tbody>${rows.map((step) => html`<tr key=${step}><th scope="row">${integer(step)}</th>
      ${known.map(([train, validation]) => html`<td><${Num} value=${train.get(step)} /></td><td><${Num} value=${validation.get(step)} /></td>`)}</tr>`)}</tbody>
  </table><//>`;
}

/** What the picture shows, for whoever does not see it. */
function described(one) {
  const best = one.validation.find(([step]) => step === one.best);
  const last = one.validation[one.validation.length - 1];
  return words.told(one.name, one.start === null ? null : number(one.start), best && one.best > 0 ? [number(best[1]), integer(best[0])] : null, last ? [number(last[1]), integer(last[0])] : null, one.best === 0);
}

/**
 * A chart of losses by step.
 *
 * series: [{name, measure?, train: [[step, value]], validation: [[step, value]], start: value | null, best: step | null}], six at most;
 * label: what the chart is of; measure: what its values are; steps: how many there will be, for a chart that grows.
 * Values that are no numbers are to be left out before.
 */
export function Curves({ series: given, label, measure, steps }) {
  const [width, measured] = useState(0);
  const [table, show] = useState(false);
  const box = useRef(null);
  const series = given.slice(0, DASHES.length);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => measured(Math.floor(entry.contentRect.width)));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);
  const name = series[0]?.measure;
  const drawn = series.some((one) => one.train.length || one.validation.length);
  const to = drawn && width > 0 && scales(series, width, steps);
  return html`<figure class="curves" data-series=${series.length} data-label=${label}>
    <figcaption><span><b>${label}</b> <small>${measure ?? texts.measures[name] ?? name ?? words.loss}${to?.logarithmic ? `, ${words.logarithmic}` : ""}</small></span>${drawn && html`<button type="button" aria-pressed=${table ? "true" : "false"} class="toggle" aria-label="${words.asTable}: ${label}" onClick=${() => show(!table)}>${words.asTable}</button>`}</figcaption>
    <div ref=${box} class="drawing">
      ${!drawn && html`<p class="soft">${words.none}</p>`}
      ${to && html`<svg width=${width} height=${HEIGHT} role="img" aria-label=${[label, ...series.map(described)].join(" ")}>
        <${Axes} to=${to} width=${width} />
        ${series.map((one, at) => html`<${One} key=${at} one=${one} at=${at} to=${to} width=${width} />`)}
      </svg>`}
    </div>
    ${drawn && html`<${Legend} series=${series} />`}
    ${table && html`<${Table} series=${series} label=${label} />`}
  </figure>`;
}
