// The bars that a model knows: bands behind the candles, each kind with a hatch of its own, so that no colour tells them apart.
import { html } from "../ui.js";
import { before } from "./axis.js";

/** What is shaded; that other symbols lived through these days, or that nobody knows, is said of each forecast. `slope` of the lines: 0 is upright. */
const HATCHES = {
  trained: { slope: 1, gap: 10, dash: [], fill: 0.055, line: 0.17 },
  validated: { slope: -1, gap: 15, dash: [5, 4], fill: 0.025, line: 0.24 },
  released: { slope: 0, gap: 12, dash: [2, 4], fill: 0.04, line: 0.26 },
};

export const shaded = (periods) => periods.filter(({ kind }) => kind in HATCHES);

/** Periods {from, to, kind} as places on an axis of times, of which `bars` are loaded; endless where the bars go on. */
export function placed(periods, bars, times) {
  const last = bars.time[bars.time.length - 1];
  let next = bars.more_before ? -Infinity : 0;
  return shaded(periods).flatMap(({ kind, from, to }) => {
    if (from > last) return [];
    const begin = Math.max(next, from < times[0] ? -Infinity : before(times, from));
    const end = to > last && bars.more_after ? Infinity : before(times, Math.min(to, last));
    next = Math.max(next, end + 1);
    return end < begin ? [] : [{ kind, begin, end }];
  });
}

/** A primitive of the library: draws below all series of a pane. */
export class Known {
  constructor() {
    this.bands = [];
    this.colour = "#000";
  }
  attached({ chart, requestUpdate }) {
    this.chart = chart;
    this.again = requestUpdate;
  }
  detached() {
    this.chart = this.again = null;
  }
  show(bands, colour) {
    this.bands = bands;
    this.colour = colour;
    this.again?.();
  }
  paneViews() {
    return [this];
  }
  zOrder() {
    return "bottom";
  }
  renderer() {
    return this;
  }
  draw(target) {
    const [zero, one] = [0, 1].map((place) => this.chart?.timeScale().logicalToCoordinate(place) ?? null);
    if (zero === null || one === null || !this.bands.length) return;
    target.useBitmapCoordinateSpace(({ context, mediaSize: { width, height }, horizontalPixelRatio: h, verticalPixelRatio: v }) => {
      context.save();
      context.scale(h, v);
      context.fillStyle = context.strokeStyle = this.colour;
      for (const { kind, begin, end } of this.bands) {
        const left = Math.max(0, zero + (begin - 0.5) * (one - zero));
        const right = Math.min(width, zero + (end + 0.5) * (one - zero));
        if (left < right) hatch(context, HATCHES[kind], { left, right, height, zero });
      }
      context.restore();
    });
  }
}

/** Lines that move with the bars: they begin at the first bar, which is at `zero`. */
function hatch(context, { slope, gap, dash, fill, line }, { left, right, height, zero }) {
  context.save();
  context.beginPath();
  context.rect(left, 0, right - left, height);
  context.clip();
  context.globalAlpha = fill;
  context.fill();
  context.globalAlpha = line;
  context.lineWidth = 1;
  context.setLineDash(dash);
  context.beginPath();
  const lean = slope * height;
  const first = Math.min(left, left - lean);
  for (let x = first + ((((zero - first) % gap) + gap) % gap); x < Math.max(right, right - lean); x += gap) {
    context.moveTo(x, height);
    context.lineTo(x + lean, 0);
  }
  context.stroke();
  context.globalAlpha = 0.7;
  context.setLineDash([]);
  context.beginPath();
  context.moveTo(right, 0);
  context.lineTo(right, height);
  context.stroke();
  context.restore();
}

/** A piece of a band, for the legend. */
export function Hatch({ kind }) {
  const { slope, gap, dash, fill, line } = HATCHES[kind];
  const [width, height] = [30, 14];
  const lines = [];
  for (let x = -height; x < width + height; x += Math.min(gap, 10)) lines.push(x);
  return html`<svg class="hatch" viewBox="0 0 ${width} ${height}" width=${width} height=${height} aria-hidden="true">
    <rect width=${width} height=${height} fill-opacity=${fill} />
    ${lines.map((x) => html`<line key=${x} x1=${x} y1=${height} x2=${x + slope * height} y2="0" stroke-opacity=${2.5 * line} stroke-dasharray=${dash.join(" ") || undefined} />`)}
  </svg>`;
}
