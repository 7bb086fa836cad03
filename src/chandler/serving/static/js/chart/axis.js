// Places on an axis of times where each time takes one slot: a time between two bars lies between their slots.

/** The place of the last time that is not later; -1 before the first. */
export function before(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The bar nearest to a time. */
export function nearest(times, time) {
  const at = before(times, time);
  if (at < 0) return 0;
  if (at === times.length - 1) return at;
  return time - times[at] <= times[at + 1] - time ? at : at + 1;
}

const pace = (times) => (times.length > 1 ? (times[times.length - 1] - times[0]) / (times.length - 1) : 86400);

/** The time at a place, which may be broken and beyond both ends. */
export function timeAt(times, place) {
  if (!times.length) return 0;
  const at = Math.floor(place);
  if (at < 0) return times[0] + place * pace(times);
  if (at >= times.length - 1) return times[times.length - 1] + (place - times.length + 1) * pace(times);
  return times[at] + (place - at) * (times[at + 1] - times[at]);
}

/** The place of a time: the other way round. */
export function placeOf(times, time) {
  const at = before(times, time);
  if (!times.length) return 0;
  if (at < 0) return (time - times[0]) / pace(times);
  if (at >= times.length - 1) return times.length - 1 + (time - times[times.length - 1]) / pace(times);
  return at + (time - times[at]) / (times[at + 1] - times[at]);
}

/** Two rising lists as one. */
export function merged(one, other) {
  if (!other.length) return one;
  return [...new Set([...one, ...other])].sort((a, b) => a - b);
}

/**
 * Where the steps of a forecast stand among bars that are each made of `every`: a candle shows the last close of its
 * bars, so of the steps inside it the last one counts; beyond the bars, every so many steps make one.
 * Answers [{time, step}], step counted from 0, or -1 for the origin.
 */
export function thinned(times, origin, steps, every) {
  const rows = [];
  const put = (time, step) => {
    const latest = rows[rows.length - 1];
    if (!latest || latest.time < time) rows.push({ time, step });
    // The row of the origin holds its close alone, even where the first steps share its candle.
    else if (latest.step >= 0) latest.step = step;
  };
  const last = times.length ? times[times.length - 1] : -Infinity;
  put(every > 1 && times.length && origin >= times[0] ? times[before(times, origin)] : origin, -1);
  let beyond = 0;
  steps.forEach((time, step) => {
    if (every === 1) put(time, step);
    else if (time <= last && before(times, time) >= 0) put(times[before(times, time)], step);
    else if (++beyond % every === 0 || step === steps.length - 1) put(time, step);
  });
  return rows;
}
