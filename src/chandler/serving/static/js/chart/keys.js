// The chart by keys: the current bar, what is said of it, and what the letters do.
import { moment } from "../format.js";
import { texts } from "../texts.js";
import { integer } from "../ui.js";
import { before } from "./axis.js";
import { price } from "./models.js";

const words = texts.chart;

/** What stands at a time: the bar, and the step of the forecast in focus (-1: none). */
export function standing({ bars, focus, origin, truth }, time) {
  const at = before(bars.time, time);
  const bar = at >= 0 && bars.time[at] === time && (truth || origin === null || time <= origin) ? at : -1;
  return { bar, step: focus ? focus.series.time.indexOf(time) : -1 };
}

export function spoken(shown, time, facts) {
  const { bar, step } = standing(shown, time);
  const when = moment(time, facts, true);
  const parts = [];
  if (bar >= 0) parts.push(words.bar(when, ...["open", "high", "low", "close"].map((name) => price(shown.bars[name][bar]))));
  if (step >= 0) {
    const { quantiles } = shown.focus.series;
    parts.push(words.future(integer(step + 1), when, ...[3, 1, 5].map((level) => price(quantiles[level][step]))));
  }
  return parts.join(". ") || when;
}

/** Answers what handles the keys of the chart element; `act` is {say, origin, now, step, flip}. */
export function keys(view, facts, act) {
  const current = () => {
    if (view.cursor !== null) return Math.min(view.cursor, view.times.length - 1);
    const { origin, bars } = view.shown;
    return view.times.indexOf(origin ?? bars.time.at(-1));
  };
  const to = (at) => act.say(spoken(view.shown, view.point(at), facts()));
  const edge = (last) => {
    const [from, until] = view.place();
    return last ? Math.min(view.times.length - 1, Math.floor(until) - 1) : Math.max(0, Math.ceil(from) + 1);
  };
  return (event) => {
    if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey || !view.shown) return;
    const far = event.shiftKey ? 10 : 1;
    const here = () => view.times[current()];
    const known = {
      ArrowLeft: () => to(current() - far),
      ArrowRight: () => to(current() + far),
      Home: () => to(edge(false)),
      End: () => to(edge(true)),
      "+": () => view.zoom(0.8),
      "=": () => view.zoom(0.8),
      "-": () => view.zoom(1.25),
      o: () => act.origin(here()),
      n: () => act.now(),
      p: () => act.flip("showPaths"),
      t: () => act.flip("truth"),
      c: () => act.flip("calibrated"),
      Enter: () => act.step(here()),
    };
    const does = known[event.key] ?? known[event.key.toLowerCase()];
    if (!does) return;
    event.preventDefault();
    does();
  };
}
