// The line behind the last bar that the model is shown: a slider for hand, finger and keys.
import { fieldTime, fieldValue, daily, moment } from "../format.js";
import { texts } from "../texts.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../ui.js";
import { before, nearest } from "./axis.js";

const words = texts.chart;

/** The bar that so many bars away would be the origin; null is the last one of all. */
export function moved(bars, origin, by) {
  const at = origin === null ? bars.time.length - 1 : before(bars.time, origin);
  const next = Math.max(0, Math.min(bars.time.length - 1, at + by));
  return next === bars.time.length - 1 && !bars.more_after ? null : bars.time[next];
}

export function OriginLine({ view, bars, origin, facts, move }) {
  const [dragged, drag] = useState(null);
  const line = useRef(null);
  const last = bars.time.at(-1);
  const time = dragged ?? origin ?? last;
  const put = () => {
    if (!line.current) return;
    const x = view.x(time);
    line.current.hidden = x === null;
    if (x !== null) line.current.style.left = `${x}px`;
  };
  useLayoutEffect(put);
  useEffect(() => {
    view.movers.add(put);
    return () => view.movers.delete(put);
  });
  const under = (event) => {
    const found = view.timeAtX(event.clientX - line.current.parentElement.getBoundingClientRect().left);
    return found === null ? time : bars.time[nearest(bars.time, Math.min(found, last))];
  };
  const down = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    drag(time);
  };
  const drop = (event) => {
    const to = under(event);
    drag(null);
    move(to === last && !bars.more_after ? null : to);
  };
  const key = (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (event.key === "End") move(null);
    else if (event.key === "Home") move(bars.time[0]);
    else if (by) move(moved(bars, origin, by * (event.shiftKey ? 10 : 1)));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  return html`<div ref=${line} class="origin" role="slider" tabindex="0" aria-label=${words.originHandle} aria-orientation="horizontal"
      aria-valuemin="0" aria-valuemax=${bars.time.length - 1} aria-valuenow=${before(bars.time, time)} aria-valuetext=${moment(time, facts, true)}
      title=${words.originHelp} onPointerDown=${down} onPointerMove=${(event) => dragged !== null && drag(under(event))}
      onPointerUp=${(event) => dragged !== null && drop(event)} onPointerCancel=${() => drag(null)} onKeyDown=${key}>
    <span>${dragged !== null ? moment(time, facts) : ""}</span>
  </div>`;
}

/** The same as a date, and the way back to the end. */
export function OriginField({ bars, origin, facts, move }) {
  const time = origin ?? bars.last ?? bars.time.at(-1);
  const choose = (event) => {
    const asked = event.currentTarget.value && fieldTime(event.currentTarget.value, facts);
    if (asked === null || asked === "" || !Number.isFinite(asked)) return;
    move(asked >= (bars.last ?? bars.time.at(-1)) ? null : asked);
  };
  return html`<label class="field inline when"><span>${words.origin}</span>
      <input type=${daily(facts.step_seconds) ? "date" : "datetime-local"} id="origin" value=${fieldValue(time, facts)}
        min=${fieldValue(bars.first ?? bars.time[0], facts)} max=${fieldValue(bars.last ?? bars.time.at(-1), facts)} onChange=${choose} />
    </label>
    <button type="button" id="now" disabled=${origin === null} onClick=${() => move(null)} aria-keyshortcuts="n">${words.now}</button>`;
}
