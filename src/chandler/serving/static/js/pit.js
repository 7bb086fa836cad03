// Where closes lay in their forecast distributions: a bar for each tenth, and the line on which all of them should be.
import { texts } from "./texts-work.js";
import { html, integer, percent } from "./ui.js";

const words = texts.journal;
const [WIDE, HIGH, FOOT, LEFT] = [340, 120, 20, 34];
/** The least that the axis reaches to, so that chance does not look like much. */
const REACH = 0.25;

function Histogram({ shares, most, model }) {
  const y = (share) => HIGH - (share / most) * (HIGH - 8);
  const wide = (WIDE - LEFT) / shares.length;
  const lines = Array.from({ length: Math.floor(most * 10 + 1e-9) }, (_, at) => (at + 1) / 10);
  const every = Math.ceil(lines.length / 4);
  const ends = [["start", 0], ["middle", 0.5], ["end", 1]];
  return html`<svg class="pit" viewBox="0 0 ${WIDE} ${HIGH + FOOT}" role="img" aria-label=${words.pitPicture(model, shares.map((one) => percent(one)))}>
    ${lines.filter((_, at) => at % every === 0).map((at) => html`<line key=${at} class="grid" x1=${LEFT} x2=${WIDE} y1=${y(at)} y2=${y(at)} /><text x=${LEFT - 6} y=${y(at) + 4} text-anchor="end">${percent(at)}</text>`)}
    ${shares.map((share, at) => html`<rect key=${at} data-share=${share} x=${LEFT + at * wide + 1} y=${y(share)} width=${wide - 2} height=${HIGH - y(share)}><title>${words.pitBar(percent(share, 1), percent(at / shares.length), percent((at + 1) / shares.length))}</title></rect>`)}
    <line class="base" x1=${LEFT} x2=${WIDE} y1=${HIGH} y2=${HIGH} />
    ${["under", "right"].map((name) => html`<line key=${name} class=${name} x1=${LEFT} x2=${WIDE} y1=${y(1 / shares.length)} y2=${y(1 / shares.length)} />`)}
    ${ends.map(([anchor, part], at) => html`<text key=${anchor} x=${LEFT + part * (WIDE - LEFT)} y=${HIGH + 15} text-anchor=${anchor}>${words.pitEnds[at]}</text>`)}
  </svg>`;
}

/** Of all that each model's live forecasts came to; on one scale. */
export function Pits({ rows }) {
  const whole = rows.filter((row) => row.age === "all");
  const most = Math.max(REACH, ...whole.filter((row) => row.pit.enough).flatMap((row) => row.pit.shares));
  const of = ({ pit, origins }) => (pit.origins < origins ? words.ofOrigins(integer(pit.origins), integer(origins)) : words.origins(integer(origins)));
  return html`<h3 id="pit">${words.pit}</h3><p class="soft">${words.pitLead}</p>
    <div class="pits">${whole.map((row) => html`<figure key=${`${row.model} ${row.details}`} data-pit=${row.model}>
      <figcaption><b>${row.model}</b> <small>${row.details}; ${of(row)}</small></figcaption>
      ${row.pit.enough ? html`<${Histogram} shares=${row.pit.shares} most=${most} model=${row.model} />` : html`<p class="soft">${words.few}</p>`}
    </figure>`)}</div>`;
}
