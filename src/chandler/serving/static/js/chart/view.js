// The chart itself: what is on it is given whole, and it keeps the place that the reader looks at.
import {
  CandlestickSeries, HistogramSeries, PriceScaleMode, createChart,
} from "../../vendor/lightweight-charts-5.2.1/lightweight-charts.standalone.production.mjs";
import { colour } from "../core.js";
import { before, merged, nearest, placeOf, thinned, timeAt } from "./axis.js";
import { Known, placed, shaded } from "./known.js";
import { candles, options, precision, volumes } from "./looks.js";
import { density, fan, paths } from "./series.js";

const unseen = { autoscaleInfoProvider: () => null };

export class View {
  /** `facts()` answers {zone, step_seconds} of the bars; `hear` is {range, hover, click}. */
  constructor(element, facts, hear) {
    this.element = element;
    this.facts = facts;
    this.hear = hear;
    this.movers = new Set();
    this.shown = null;
    this.times = [];
    this.cursor = null;
    this.chart = createChart(element, options(facts));
    this.densities = this.chart.addCustomSeries(density(), unseen);
    this.lines = this.chart.addCustomSeries(paths(), unseen);
    this.fans = [];
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false, lastValueVisible: false });
    this.volume = null;
    this.known = [new Known(), new Known()];
    this.candles.attachPrimitive(this.known[0]);
    const moved = () => {
      for (const each of this.movers) each();
    };
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => (moved(), this.hear.range()));
    this.chart.timeScale().subscribeSizeChange(moved);
    this.chart.subscribeCrosshairMove(({ time, point }) => this.hear.hover(point || this.cursor !== null ? (time ?? null) : null));
    this.chart.subscribeClick(({ time }) => time !== undefined && this.hear.click(time));
  }

  remove() {
    this.chart.remove();
  }

  /** What is to be seen: {bars, forecasts: [{series, colour, dash, style}], focus, origin, truth, paths, density, log, known}. */
  show(what) {
    const place = this.shown?.bars === undefined ? null : this.place();
    const old = { times: this.times, every: this.shown?.bars.every };
    this.shown = what;
    const { bars } = what;
    const drawn = what.forecasts.map((one) => ({ ...one, rows: thinned(bars.time, one.series.origin_time, one.series.time, bars.every) }));
    this.times = drawn.reduce((all, { rows }) => merged(all, rows.map((row) => row.time)), bars.time);
    this.chart.applyOptions(options(this.facts));
    this.chart.priceScale("right").applyOptions({ mode: what.log ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal });
    const end = what.focus?.series.time.at(-1) ?? null;
    // The axis goes by the lowest series on it, which is not that of the candles.
    for (const one of [this.densities, this.lines, this.candles]) one.applyOptions({ priceFormat: precision(bars.close) });
    this.candles.setData(candles(bars, what, end));
    this.fan(drawn);
    this.layers(drawn.find((one) => one.series === what.focus?.series));
    this.bottom(bars, what, end);
    const bands = placed(what.known, bars, this.times);
    for (const each of this.known) each.show(bands, colour("ink"));
    if (place) this.keep(place, old);
    this.tell(drawn);
    for (const each of this.movers) each();
  }

  fan(drawn) {
    const wanted = drawn.flatMap((one) => [
      { rows: one.rows.map(({ time, step }) => ({ time, q: quantiles(one.series, step) })), color: one.colour, dash: one.dash, style: one.style },
      ...(one.style === "full" && one.series.raw80
        ? [{ rows: one.rows.map(({ time, step }) => ({ time, q: raw(one.series, step) })), color: one.colour, dash: [], style: "dotted" }]
        : []),
    ]);
    while (this.fans.length > wanted.length) this.chart.removeSeries(this.fans.pop());
    while (this.fans.length < wanted.length) this.fans.push(this.chart.addCustomSeries(fan()));
    wanted.forEach(({ rows, ...looks }, at) => {
      this.fans[at].applyOptions({ ...looks, lastValueVisible: false, priceLineVisible: false });
      this.fans[at].setData(rows);
      this.fans[at].setSeriesOrder(at + 2);
    });
    this.candles.setSeriesOrder(this.fans.length + 2);
  }

  layers(focus) {
    const { paths: lines, density: dense } = this.shown;
    const close = focus?.series.last_close;
    this.lines.applyOptions({ color: focus?.colour ?? colour("model") });
    this.lines.setData(focus && lines ? focus.rows.map(({ time, step }) => ({ time, v: lines.map((path) => (step < 0 ? close : path[step])) })) : []);
    this.densities.applyOptions({ color: focus?.colour ?? colour("model") });
    this.densities.setData(
      focus && dense
        ? focus.rows.filter(({ step }) => step >= 0).map(({ time, step }) => ({ time, low: dense.low, high: dense.high, shares: dense.counts[step] }))
        : [],
    );
  }

  bottom(bars, what, end) {
    if (!bars.volume) {
      if (this.volume) this.chart.removePane(1);
      this.volume = null;
      return;
    }
    if (!this.volume) {
      this.volume = this.chart.addSeries(HistogramSeries, { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false }, 1);
      this.volume.attachPrimitive(this.known[1]);
      this.chart.panes()[0].setStretchFactor(0.8);
      this.chart.panes()[1].setStretchFactor(0.2);
    }
    this.volume.setData(volumes(bars, what, end));
  }

  // ---- the place one looks at ----

  place() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    return range && [range.from, range.to];
  }

  go(from, to) {
    this.chart.timeScale().setVisibleLogicalRange({ from, to });
  }

  /** The same bars in sight as before: exactly where they still are bars, by time where each stands for more or fewer now. */
  keep(place, old) {
    const { bars } = this.shown;
    const anchor = old.every === bars.every && old.times.length ? old.times[Math.max(0, Math.min(old.times.length - 1, Math.round(place[0])))] : null;
    const common = anchor !== null && (this.times[nearest(this.times, anchor)] === anchor ? anchor : bars.time[0]);
    const was = common === false ? -1 : old.times.indexOf(common);
    if (was >= 0) {
      const shift = this.times.indexOf(common) - was;
      this.go(place[0] + shift, place[1] + shift);
    } else if (old.times.length) {
      this.go(...place.map((one) => placeOf(this.times, timeAt(old.times, one))));
    }
  }

  /** What is seen first: some bars, and room for what may come; or the times of an address. */
  begin({ view, origin, horizon }) {
    const { time } = this.shown.bars;
    if (view) return this.go(...view.map((one) => placeOf(this.times, one)));
    const count = Math.max(36, Math.min(180, Math.round(this.element.clientWidth / 6.5)) - horizon);
    const at = origin === null ? time.length - 1 : before(time, origin);
    this.go(at - count, at + horizon + Math.max(3, horizon / 4));
  }

  /** From and to, as times. */
  span() {
    return this.place()?.map((one) => Math.round(timeAt(this.times, one)));
  }

  zoom(factor) {
    const [from, to] = this.place();
    const width = Math.max(10, (to - from) * factor);
    // About the middle, but with no more room behind the last bar than there is now.
    const right = Math.min((from + to) / 2 + width / 2, Math.max(to, this.times.length + 2));
    this.go(right - width, right);
  }

  /** Show all times between two. */
  fit(from, to) {
    this.go(placeOf(this.times, from), placeOf(this.times, to));
  }

  // ---- times and pixels ----

  x(time) {
    const place = placeOf(this.times, time);
    const scale = this.chart.timeScale();
    const at = scale.logicalToCoordinate(Math.floor(place));
    const next = scale.logicalToCoordinate(Math.floor(place) + 1);
    const x = at === null || next === null ? null : at + (place - Math.floor(place)) * (next - at);
    return x === null || x < 0 || x > scale.width() ? null : x;
  }

  timeAtX(x) {
    const place = this.chart.timeScale().coordinateToLogical(x);
    return place === null ? null : timeAt(this.times, place);
  }

  /** Make a place of the axis the current one, and bring it into sight. */
  point(at) {
    const { bars, focus } = this.shown;
    this.cursor = Math.max(0, Math.min(this.times.length - 1, at));
    const time = this.times[this.cursor];
    const [from, to] = this.place();
    const width = to - from;
    if (this.cursor < from + 1) this.go(this.cursor - 2, this.cursor - 2 + width);
    if (this.cursor > to - 1) this.go(this.cursor + 2 - width, this.cursor + 2);
    const bar = bars.time[before(bars.time, time)] === time ? bars.close[before(bars.time, time)] : null;
    const step = focus ? focus.series.time.indexOf(time) : -1;
    this.chart.setCrosshairPosition(bar ?? (step < 0 ? bars.close.at(-1) : focus.series.quantiles[3][step]), time, this.candles);
    return time;
  }

  tell(drawn) {
    const { bars, origin, focus, forecasts, paths: lines, density: dense, known } = this.shown;
    const { dataset } = this.element.closest("[data-chart]");
    Object.assign(dataset, {
      bars: bars.time.length, first: bars.time[0] ?? "", last: bars.time.at(-1) ?? "", every: bars.every,
      origin: origin ?? focus?.series.origin_time ?? "", models: forecasts.map((one) => one.name).join(","),
      steps: focus?.series.time.length ?? 0, fan: drawn.find((one) => one.series === focus?.series)?.rows.length ?? 0,
      of: focus?.series.paths ?? 0, truth: this.truths, volume: bars.volume ? 1 : 0, lines: lines?.length ?? 0, dense: dense ? 1 : 0,
      known: shaded(known).map(({ kind, to }) => `${kind} ${to}`).join(),
    });
  }

  get truths() {
    const { focus, truth, bars } = this.shown;
    return focus && truth ? bars.time.filter((time) => time > focus.series.origin_time && time <= focus.series.time.at(-1)).length : 0;
  }
}

const quantiles = (series, step) => (step < 0 ? Array(7).fill(series.last_close) : series.quantiles.map((level) => level[step]));

function raw(series, step) {
  const [low, high] = step < 0 ? [series.last_close, series.last_close] : [series.raw80.lower[step], series.raw80.upper[step]];
  return [low, low, low, (low + high) / 2, high, high, high];
}
