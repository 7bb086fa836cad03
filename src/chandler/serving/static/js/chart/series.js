// Series that the library does not have: the fan of a forecast, its single paths, and how densely all paths lie.
import { customSeriesDefaultOptions } from "../../vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";

/** The bars in sight, and one on each side. */
function inSight(data) {
  const { bars, visibleRange: range } = data;
  if (!range || !bars.length) return [];
  return bars.slice(Math.max(0, range.from - 1), Math.min(bars.length, range.to + 1));
}

/** What all three share: `paint(context, bars, y, options, ratios)` draws in the pixels of the screen. */
class Drawn {
  constructor(paint, values) {
    this.paint = paint;
    this.values = values;
    this.data = null;
    this.options = null;
  }
  renderer() {
    return this;
  }
  update(data, options) {
    this.data = data;
    this.options = options;
  }
  priceValueBuilder(row) {
    return this.values(row);
  }
  isWhitespace(row) {
    return !row || !this.values(row);
  }
  defaultOptions() {
    return { ...customSeriesDefaultOptions, color: "#0067a6", dash: [], style: "full", width: 2, lastValueVisible: false, priceLineVisible: false };
  }
  draw(target, price) {
    if (!this.data) return;
    target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: h, verticalPixelRatio: v }) => {
      const bars = inSight(this.data);
      if (!bars.length) return;
      context.save();
      const rows = bars.map((bar) => ({ x: bar.x * h, row: bar.originalData }));
      this.paint(context, rows, (value) => price(value) * v, this.options, { v, width: this.data.barSpacing * h });
      context.restore();
    });
  }
}

function line(context, rows, y, of) {
  context.beginPath();
  rows.forEach(({ x, row }, at) => (at ? context.lineTo(x, y(of(row))) : context.moveTo(x, y(of(row)))));
  context.stroke();
}

function area(context, rows, y, low, high) {
  context.beginPath();
  rows.forEach(({ x, row }, at) => (at ? context.lineTo(x, y(row.q[high])) : context.moveTo(x, y(row.q[high]))));
  for (let at = rows.length - 1; at >= 0; at--) context.lineTo(rows[at].x, y(rows[at].row.q[low]));
  context.closePath();
  context.fill();
}

/** Rows {time, q: [5, 10, 25, 50, 75, 90, 95%]}. Style "full": three areas and the median; "outline": 80% and the median; "dotted": 80% alone. */
export function fan() {
  return new Drawn(
    (context, rows, y, { color, dash, style, width }, { v }) => {
      context.lineJoin = "round";
      context.strokeStyle = context.fillStyle = color;
      if (style === "full") {
        for (const [low, high, alpha] of [[0, 6, 0.13], [1, 5, 0.09], [2, 4, 0.09]]) {
          context.globalAlpha = alpha;
          area(context, rows, y, low, high);
        }
        context.globalAlpha = 0.55;
        context.lineWidth = v;
        for (const one of [1, 5]) line(context, rows, y, (row) => row.q[one]);
      } else {
        context.globalAlpha = style === "dotted" ? 0.9 : 0.75;
        context.lineWidth = style === "dotted" ? 1.5 * v : v;
        context.setLineDash((style === "dotted" ? [1.5, 4] : dash).map((part) => part * v));
        for (const one of [1, 5]) line(context, rows, y, (row) => row.q[one]);
      }
      if (style === "dotted") return;
      context.globalAlpha = 1;
      context.lineWidth = width * v;
      context.setLineDash(dash.map((part) => part * v * 1.5));
      line(context, rows, y, (row) => row.q[3]);
    },
    (row) => row.q && [row.q[0], row.q[6], row.q[3]],
  );
}

/** Rows {time, v: [a value for each path]}. */
export function paths() {
  return new Drawn(
    (context, rows, y, { color }, { v }) => {
      context.strokeStyle = color;
      context.globalAlpha = 0.34;
      context.lineWidth = v;
      for (let one = 0; one < rows[0].row.v.length; one++) line(context, rows, y, (row) => row.v[one]);
    },
    (row) => row.v && [row.v[0], row.v[0], row.v[0]],
  );
}

/** Rows {time, low, high, shares: [of all paths, a bin each]}. */
export function density() {
  return new Drawn(
    (context, rows, y, { color }, { width }) => {
      context.fillStyle = color;
      const most = Math.max(...rows.flatMap(({ row }) => row.shares));
      const wide = Math.max(1, Math.ceil(width));
      for (const { x, row } of rows) {
        const bin = (row.high - row.low) / row.shares.length;
        row.shares.forEach((share, one) => {
          if (!share) return;
          const top = y(row.low + (one + 1) * bin);
          context.globalAlpha = 0.08 + 0.72 * (share / most);
          context.fillRect(Math.round(x - wide / 2), top, wide, Math.max(1, y(row.low + one * bin) - top));
        });
      }
    },
    (row) => row.shares && [row.low, row.high, (row.low + row.high) / 2],
  );
}
