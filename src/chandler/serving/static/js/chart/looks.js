// The colours of the chart, from the palette of the page as it is now.
import { ColorType, CrosshairMode, LineStyle } from "../../vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";
import { candleColours, colour } from "../core.js";
import { moment, tick } from "../format.js";
import { number } from "../ui.js";

/** Models are told apart by a colour and by a dash; the first is the reports' blue. Orange is what happened. */
export const STYLES = [
  { name: "model", dash: [] },
  { name: "third", dash: [7, 3] },
  { name: "fourth", dash: [2, 3] },
  { name: "fifth", dash: [9, 3, 2, 3] },
];

/** Beyond these the library finds no marks for its axis. */
const MOST_DIGITS = 18;

const still = matchMedia("(prefers-reduced-motion: reduce)");

export function options(facts) {
  const rule = colour("rule");
  const soft = colour("ink-soft");
  const label = { color: soft, labelBackgroundColor: soft, width: 1, style: LineStyle.Dashed };
  return {
    autoSize: true,
    layout: {
      background: { type: ColorType.Solid, color: colour("page") },
      textColor: soft,
      fontSize: 12,
      fontFamily: getComputedStyle(document.body).fontFamily,
      panes: { separatorColor: colour("rule-strong"), separatorHoverColor: colour("panel-strong") },
      // The notice and the link that the licence asks for stand below the chart.
      attributionLogo: false,
    },
    grid: { vertLines: { color: rule }, horzLines: { color: rule } },
    crosshair: { mode: CrosshairMode.Normal, vertLine: label, horzLine: label },
    rightPriceScale: { borderColor: colour("rule-strong"), scaleMargins: { top: 0.14, bottom: 0.08 } },
    timeScale: {
      borderColor: colour("rule-strong"),
      timeVisible: true,
      minBarSpacing: 0.1,
      tickMarkFormatter: (time, kind) => tick(time, kind, facts()),
    },
    localization: { locale: "en-GB", timeFormatter: (time) => moment(time, facts(), true) },
    // A finger that goes up and down scrolls the page.
    handleScroll: { vertTouchDrag: false },
    kineticScroll: { touch: !still.matches, mouse: false },
  };
}

/** So many decimals that about five digits of a price are seen; powers of ten where that is shorter. */
export function precision(close) {
  const size = Math.abs(close[close.length - 1] ?? 1) || 1;
  const digits = Math.max(0, Math.min(MOST_DIGITS, 4 - Math.floor(Math.log10(size))));
  const decimals = (price) => price.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "\u2212");
  return { type: "custom", minMove: 10 ** -digits, base: 10 ** digits, formatter: digits > 8 ? (price) => number(price) : decimals };
}

/** Fill and edge of a rising and of a falling candle. */
function pair() {
  const [page, ink, green, red] = ["page", "ink", "fourth", "red"].map(colour);
  return { ink: [page, ink, ink, ink], green: [green, green, red, red], red: [red, red, green, green] }[candleColours.get()] ?? [page, ink, ink, ink];
}

const candle = ([upFill, upEdge, downFill, downEdge], rises) => {
  const [color, edge] = rises ? [upFill, upEdge] : [downFill, downEdge];
  return { color, borderColor: edge, wickColor: edge };
};

/** Bars as the library wants them. After the origin of a forecast they are the truth, and may be hidden. */
export function candles(bars, { origin, truth }, end) {
  const usual = pair();
  const page = colour("page");
  const happened = Array(4).fill(colour("truth")).with(0, page);
  const later = Array(4).fill(colour("muted")).with(0, page);
  return bars.time.map((time, at) => {
    const after = origin !== null && time > origin;
    if (after && !truth) return { time };
    const [open, high, low, close] = [bars.open[at], bars.high[at], bars.low[at], bars.close[at]];
    const looks = after ? (end !== null && time <= end ? happened : later) : usual;
    return { time, open, high, low, close, ...candle(looks, close >= open) };
  });
}

/** Volumes, and beyond the bars the mean of what the model drew. */
export function volumes(bars, { origin, truth, focus }, end) {
  const [soft, muted, orange, model] = ["rule-strong", "rule", "truth", "model"].map(colour);
  const rows = bars.time.map((time, at) => {
    const after = origin !== null && time > origin;
    if (after && !truth) return { time };
    return { time, value: bars.volume[at], color: after ? (end !== null && time <= end ? `${orange}88` : muted) : soft };
  });
  const last = bars.time[bars.time.length - 1] ?? -Infinity;
  if (focus?.series.mean?.volume && bars.every === 1) {
    focus.series.time.forEach((time, step) => time > last && rows.push({ time, value: focus.series.mean.volume[step], color: `${model}66` }));
  }
  return rows;
}

/** "O 431.2 H 433.0 L 429.9 C 430.5", as [name, value] pairs. */
export function told(bars, at) {
  const values = [["O", bars.open], ["H", bars.high], ["L", bars.low], ["C", bars.close]].map(([name, of]) => [name, number(of[at], 6)]);
  return bars.volume ? [...values, ["V", bars.volume[at].toLocaleString("en", { notation: "compact", maximumFractionDigits: 2 })]] : values;
}
