// The chart in the page: the library's canvases, what is said of the bar under the pointer, and the line of the origin.
import { candleColours, debounced, repaint, store, useStore } from "../core.js";
import { length, moment } from "../format.js";
import { texts } from "../texts.js";
import { html, integer, useEffect, useRef, useState } from "../ui.js";
import { keys, standing } from "./keys.js";
import { told } from "./looks.js";
import { price } from "./models.js";
import { OriginLine } from "./origin.js";
import { View } from "./view.js";

const words = texts.chart;

/** The bar or step under the pointer: outside the page's state, since it changes with every move. */
function Hover({ time, shown, facts, symbol }) {
  const at = useStore(time);
  if (!shown) return null;
  const found = at === null ? { bar: shown.bars.time.length - 1, step: -1 } : standing(shown, at);
  if (shown.origin !== null && !shown.truth && at === null) found.bar = -1;
  const { bar, step } = found;
  const when = at ?? (bar >= 0 ? shown.bars.time[bar] : null);
  const q = step >= 0 ? shown.focus.series.quantiles.map((level) => price(level[step])) : null;
  return html`<div class="hover" aria-hidden="true">
    <b>${symbol}</b> <span>${when !== null && moment(when, facts, true)}</span>
    ${bar >= 0 && told(shown.bars, bar).map(([name, value]) => html`<span key=${name}><i>${name}</i> ${value}</span>`)}
    ${q && html`<span>${words.stepOf(step + 1, shown.focus.series.time.length)}</span><span><i>50%</i> ${q[2]} – ${q[4]}</span><span><i>80%</i> ${q[1]} – ${q[5]}</span><span><i>90%</i> ${q[0]} – ${q[6]}</span><span><i>${words.legend.median}</i> ${q[3]}</span>`}
  </div>`;
}

/**
 * `what` is what View.show takes; `start` is where to begin when the series is another one (`name`); `act` hears
 * {origin(time|null), step(time), flip(name), range(view)}.
 */
export function Stage({ name, what, facts, symbol, start, act, hold }) {
  const element = useRef(null);
  const [view, set] = useState(null);
  const time = useRef(store(null)).current;
  const [said, say] = useState("");
  const latest = useRef({});
  latest.current = { facts, act, what };
  const colours = `${useStore(repaint)} ${useStore(candleColours)}`;
  const begun = useRef(null);

  useEffect(() => {
    const range = debounced(() => latest.current.act.range(made), 120);
    const made = new View(element.current, () => latest.current.facts, {
      range,
      hover: (at) => time.set(at),
      click: (at) => latest.current.act.step(at),
    });
    set(made);
    hold(made);
    return () => (range.cancel(), hold(null), made.remove());
  }, []);

  useEffect(() => {
    if (!view || !what) return;
    const other = begun.current !== name;
    if (other) view.shown = null;
    view.show(what);
    if (other) {
      view.cursor = null;
      time.set(null);
      view.begin(start);
      // The chart takes its size after this: what it shows first is said once more then.
      requestAnimationFrame(() => view.shown && view.begin(start));
    }
    begun.current = name;
  }, [view, what, colours, name]);

  const { bars, origin } = what ?? {};
  return html`<div class="stage">
    <${Hover} time=${time} shown=${what} facts=${facts} symbol=${symbol} />
    <div id="chart" data-chart class="chart" role="application" tabindex="0" aria-label=${words.label(symbol, length(facts.step_seconds))} aria-describedby="chart-help"
      onKeyDown=${view && keys(view, () => latest.current.facts, {
        say,
        origin: (at) => act.origin(at),
        now: () => act.origin(null),
        step: (at) => act.step(at),
        flip: (one) => act.flip(one),
      })}>
      <div class="canvas" ref=${element} aria-hidden="true"></div>
      ${view && what && html`<${OriginLine} view=${view} bars=${bars} origin=${origin} facts=${facts} move=${act.origin} />`}
    </div>
    <p id="chart-help" class="out">${words.help}</p>
    <p class="out" role="status" id="said">${said}</p>
    <p class="credit"><span>${texts.credit.notice} · ${texts.credit.rest} <a href=${texts.credit.link} target="_blank" rel="noopener noreferrer">www.tradingview.com</a></span>
      ${what && bars.every > 1 && html`<span>${words.every(integer(bars.every))}</span>`}
      ${what && facts.zone === null && facts.step_seconds < 86400 && html`<span>${texts.noZone}</span>`}</p>
  </div>`;
}
