// All runs as a table: how far each is, what it gained; two to six can be held against each other.
import { clock } from "../format.js";
import { texts } from "../texts-work.js";
import { Num, Scroll, bytes, html, integer, useState } from "../ui.js";

const words = texts.runs;
export const MOST = 6;
const STAGES = ["tokenizer", "predictor"];

const stage = (run, name) => run.stages.find((one) => one.name === name) ?? null;

/** What a stage gained, as a number to sort by: a share of its start; runs without one come last. */
function gained(run, name) {
  const one = stage(run, name);
  if (!one || one.start === null || one.best === null) return -Infinity;
  return ((one.rises ? one.best - one.start : one.start - one.best) || 0) / Math.abs(one.start || 1);
}

/** name -> what a column sorts by, and whether it begins with the greatest. */
const COLUMNS = {
  name: [(run) => run.name.toLowerCase(), false],
  state: [(run) => ["running", "unfinished", "finished"].indexOf(run.state), false],
  tokenizer: [(run) => gained(run, "tokenizer"), true],
  predictor: [(run) => gained(run, "predictor"), true],
  bytes: [(run) => run.bytes ?? -1, true],
  changed: [(run) => run.changed, true],
};

const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export function Gain({ one }) {
  if (!one) return "–";
  if (one.status === "off") return html`<span class="soft">${words.off}</span>`;
  if (one.start === null) return html`<span class="soft">${one.step === null ? words.notBegun : words.status[one.status]}</span>`;
  const kept = one.status === "kept_start" || one.best === one.start;
  return html`<span title="${texts.measures[one.score] ?? one.score}"><${Num} value=${one.start} /> → <${Num} value=${one.best} /></span>
    <small>${kept ? (one.status === "kept_start" ? words.kept : words.noGain) : `${one.score} ${one.gain}`}</small>`;
}

const going = (one) => one.status === "unfinished" && one.step !== null;

export function State({ run }) {
  const one = run.stages.find(going);
  const where = run.state !== "finished" && one ? words.at(one.name, integer(one.step), one.steps && integer(one.steps)) : null;
  return html`<span class="mark ${run.state}">${words.states[run.state]}</span>${where && html` <small>${where}</small>`}`;
}

export function List({ runs, hold }) {
  const [[by, falls], order] = useState(["changed", true]);
  const [chosen, choose] = useState(new Set());
  const [key] = COLUMNS[by];
  const sorted = [...runs].sort((a, b) => (falls ? -1 : 1) * compare(key(a), key(b)) || compare(a.name, b.name));
  const flip = (id) => choose((old) => (old.has(id) ? new Set([...old].filter((one) => one !== id)) : new Set([...old, id])));
  const head = (name) => html`<th key=${name} scope="col" class=${name} aria-sort=${by === name ? (falls ? "descending" : "ascending") : undefined}>
    <button type="button" class="sort" onClick=${() => order([name, by === name ? !falls : COLUMNS[name][1]])}>${words.columns[name]}<i aria-hidden="true">${by === name ? (falls ? "↓" : "↑") : ""}</i></button></th>`;
  const there = [...chosen].filter((id) => runs.some((one) => one.id === id));
  return html`<div class="row above"><button type="button" class="first" disabled=${there.length < 2 || there.length > MOST} onClick=${() => hold(there)}>${words.compare(there.length)}</button>
      <small>${there.length > MOST ? words.tooMany(MOST) : words.compareHelp(MOST)}</small></div>
    <${Scroll} label=${words.title}><table class="runs" data-runs=${runs.length}>
      <thead><tr><th scope="col"><span class="out">${words.choose}</span></th>${Object.keys(COLUMNS).map(head)}</tr></thead>
      <tbody>${sorted.map((run) => html`<tr key=${run.id} data-run=${run.name} data-state=${run.state}>
        <td><label class="tick"><input type="checkbox" aria-label="${words.choose}: ${run.name}" checked=${chosen.has(run.id)} onChange=${() => flip(run.id)} /></label></td>
        <th scope="row"><a href=${`/runs?id=${run.id}`}>${run.name}</a>${run.calibrated && html` <small>${words.calibrated}</small>`}</th>
        <td><${State} run=${run} /></td>
        ${STAGES.map((name) => html`<td key=${name}><${Gain} one=${stage(run, name)} /></td>`)}
        <td title=${run.bytes ?? ""}>${bytes(run.bytes)}</td><td>${clock(run.changed)}</td>
      </tr>`)}</tbody></table><//>
    <p class="soft">${words.gainSays}</p>`;
}
