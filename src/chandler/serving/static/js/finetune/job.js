// One run as it goes, and what came of it.
import { post } from "../api.js";
import { Curves } from "../curves.js";
import { ENDED } from "../events.js";
import { clock } from "../format.js";
import { curve, measuresOf, ofStage } from "../records.js";
import { texts } from "../texts-work.js";
import { Busy, Command, Dialog, Facts, Notice, Num, Progress, Scroll, Select, Toggle, html, integer, number, seconds, useEffect, useMemo, useRef, useState } from "../ui.js";
import { useLive } from "./live.js";

const say = texts.finetune;
const words = say.live;

/** How far it is; never all of it before it is finished. */
export function Bar({ job }) {
  const { progress } = job;
  const share = progress?.total ? Math.min(progress.done / progress.total, 0.99) : null;
  const facts = progress && [
    progress.stage && words.stage(progress.stage), progress.total && words.steps(integer(progress.done), integer(progress.total)),
    progress.epochs && words.epochs(Math.max(1, progress.epoch ?? 1), progress.epochs), progress.rate && words.rate(number(progress.rate, 3)),
    progress.total && progress.done >= progress.total ? words.ending : Number.isFinite(progress.seconds_left) && words.left(seconds(progress.seconds_left)),
  ].filter(Boolean);
  return html`<div class="going" data-done=${progress?.done} data-total=${progress?.total} data-stage=${progress?.stage}>
    <${Progress} label=${texts.tray.progress} done=${share} total=${share === null ? null : 1} />
    <span>${facts?.length ? facts.join(" · ") : words.beginning}</span>
  </div>`;
}

export function Buttons({ job, again }) {
  const [sure, ask] = useState(false);
  const [error, fail] = useState(null);
  const act = (what) => {
    ask(false);
    fail(null);
    post(`/jobs/${job.id}/${what}`, {}).then(again, (found) => (fail(found.message), again()));
  };
  const running = job.state === "running";
  return html`<div class="actions">
      ${running && html`<button type="button" class="first" title=${words.stopHelp} onClick=${() => act("stop")}>${words.stop}</button>`}
      ${job.state === "queued" && html`<button type="button" onClick=${() => act("stop")}>${words.unqueue}</button>`}
      ${(running || job.state === "stopping") && html`<button type="button" onClick=${() => ask(true)}>${words.kill}</button>`}
      ${job.resumable && ENDED.has(job.state) && html`<button type="button" class="first" onClick=${() => act("resume")}>${words.resume}</button>`}
    </div>
    ${error && html`<${Notice} kind="problem" close=${() => fail(null)}>${error}<//>`}
    ${sure && html`<${Dialog} title=${words.sure(job.name)} close=${() => ask(false)}><p>${words.sureSays}</p>
      <div class="row"><button type="button" class="first" onClick=${() => act("kill")}>${words.reallyKill}</button>
      <button type="button" onClick=${() => ask(false)}>${words.keep}</button></div><//>`}`;
}

/** What is to be said of the state: an outcome, or what went wrong. */
function Outcome({ job, run }) {
  if (job.state === "finished") {
    const verdict = run?.verdict ?? [];
    return html`<div class="outcome" role="note" data-kept=${run?.stages.filter((one) => one.status === "kept_start").map((one) => one.name).join()}>
      ${verdict.length ? verdict.map((one) => html`<p key=${one}>${one}</p>`) : job.message && html`<p>${job.message}</p>`}
      ${run?.stages.some((one) => one.status === "kept_start") && html`<p class="soft">${words.kept}</p>`}
      <p class="row">
        ${job.model_id && html`<a class="button first" href=${`/chart?models=${job.model_id}`}>${words.chart}</a><a class="button" href=${`/judge?model=${job.model_id}`}>${words.judge}</a>`}
        ${run && html`<a class="button" href=${`/runs?id=${run.id}`}>${words.inRuns}</a>`}
        ${run?.report_id && html`<a href="/api/v1/reports/${run.report_id}" target="_blank" rel="noopener">${words.report}</a>`}
      </p>
    </div>`;
  }
  if (job.state === "failed" || job.state === "lost") return html`<${Notice} kind="problem"><p class="told">${job.message ?? words.says[job.state]}</p>${job.resumable && html`<p>${words.canResume}</p>`}<//>`;
  if (job.state === "stopped") return html`<${Notice}><p class="told">${job.message ?? words.says.stopped}</p>${job.resumable && html`<p>${words.canResume}</p>`}<//>`;
  if (job.state === "queued") return html`<${Notice}>${words.queued(job.position)}<//>`;
  if (job.state === "stopping") return html`<${Notice}>${words.says.stopping}<//>`;
  return null;
}

/** The curve of a stage and its validations. */
export function Stage({ name, stage, score, steps }) {
  const measures = measuresOf(stage);
  const first = measures.includes(score) ? score : measures[0];
  const [chosen, choose] = useState(null);
  const measure = chosen ?? first;
  const series = useMemo(() => curve(stage, words.stage(name), measure), [stage, measure]);
  const title = words.stage(name);
  return html`<section class="stage-of" data-stage=${name} data-train=${stage.train.length} data-validation=${stage.validation.length} aria-label=${title}>
    <${Curves} series=${[series]} label=${title} steps=${steps} />
    <div class="beside">${stage.validation.length > 0 && html`<details><summary>${words.measures(stage.validation.length)}</summary>
      <${Scroll} label="${words.measures(stage.validation.length)}: ${title}" tall><table class="measures">
        <thead><tr><th scope="col">${words.step}</th><th scope="col">${words.epoch}</th>${measures.map((one) => html`<th key=${one} scope="col" title=${texts.measures[one] ?? ""}>${one}</th>`)}<th scope="col"><span class="out">${words.best}</span></th></tr></thead>
        <tbody>${stage.validation.map((one) => html`<tr key=${one.step} data-step=${one.step}><th scope="row">${one.step ? integer(one.step) : words.untouched}</th><td>${integer(one.epoch)}</td>
          ${measures.map((name) => html`<td key=${name}><${Num} value=${one[name]} /></td>`)}<td>${one.step === series.best ? html`<b class="mark ready">${words.best}</b>` : ""}</td></tr>`)}</tbody>
      </table><//></details>`}
      ${measures.length > 1 && html`<label class="field inline"><span>${words.measure}</span><${Select} value=${measure} onChange=${choose} options=${measures.map((one) => [one, one === first ? words.chosenBy(one) : one])} /></label>`}</div>
  </section>`;
}

export function Log({ lines, open, toggle, id }) {
  const [follow, set] = useState(true);
  const box = useRef(null);
  useEffect(() => {
    if (follow && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines, follow, open]);
  const scrolled = ({ currentTarget: pane }) => {
    const end = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 24;
    if (end !== follow) set(end);
  };
  return html`<details class="logs" open=${open} onToggle=${(event) => toggle(event.currentTarget.open)}>
    <summary>${words.log}</summary>
    ${open && html`<div class="row"><${Toggle} label=${words.follow} on=${follow} onClick=${() => set(!follow)} /><small>${words.lines(lines.length)}</small></div>
      <pre class="log" ref=${box} tabindex="0" role="region" aria-label=${words.log} data-lines=${lines.length} onScroll=${scrolled}>${lines.length ? lines.join("\n") : words.noLog}</pre>`}
  </details>`;
}

function flat(values, prefix = "") {
  return Object.entries(values).flatMap(([name, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length ? flat(value, `${prefix}${name}.`) : [[prefix + name, value]]);
}

/** What the run folder says it was started with; the form may say something else by now. */
export function Settings({ run }) {
  const [sought, seek] = useState("");
  const rows = useMemo(() => flat(run.settings), [run]);
  const seen = rows.filter(([key]) => key.includes(sought.trim().toLowerCase()));
  return html`<details><summary>${words.settings(rows.length)}</summary>
    <p class="soft">${words.settingsSay}</p>
    <label class="field inline"><span>${say.search}</span><input type="search" value=${sought} onInput=${(event) => seek(event.currentTarget.value)} /></label>
    <${Scroll} label=${words.settings(rows.length)} tall><table class="pairs"><tbody>
      ${seen.map(([key, value]) => html`<tr key=${key}><th scope="row"><code>${key}</code></th><td data-value=${key}>${value === null ? "null" : Array.isArray(value) ? value.join(", ") : String(value)}</td></tr>`)}
    </tbody></table><//></details>`;
}

export function Job({ id }) {
  const [logOpen, openLog] = useState(false);
  const { job, run, records, lines, error, again } = useLive(id, logOpen);
  const stages = useMemo(() => [...new Set(records.map((one) => one.stage))].map((name) => ({ name, ...ofStage(records, name) })), [records]);
  useEffect(() => {
    if (job) document.title = `${job.name} · ${texts.pages.finetune} · ${texts.name}`;
  }, [job?.name]);
  if (!job) return error ? html`<${Notice} kind="problem">${error.message} <a href="/finetune">${words.back}</a><//>` : html`<${Busy} />`;
  const going = !ENDED.has(job.state) && job.state !== "queued";
  const score = (name) => run?.stages.find((one) => one.name === name)?.score;
  const facts = [[words.created, clock(job.created)], [words.started, job.started && clock(job.started)], [words.ended, job.ended && clock(job.ended)],
    [words.took, job.started && job.ended && seconds(job.ended - job.started)]];
  return html`<article class="job" data-job=${job.id} data-state=${job.state}>
    <p><a href="/finetune">← ${words.back}</a></p>
    <header class="head"><h1>${job.name}</h1> <span class="mark ${job.state}" id="state" role="status">${say.states[job.state]}</span><${Buttons} job=${job} again=${again} /></header>
    ${error && html`<${Notice} kind="problem">${error.message}<//>`}
    ${going && html`<${Bar} job=${job} />`}
    <${Outcome} job=${job} run=${run} />
    ${stages.length > 0 && html`<div class="stages">${stages.map((stage) => html`<${Stage} key=${stage.name} name=${stage.name} stage=${stage} score=${score(stage.name)} steps=${stage.begin?.steps} />`)}</div>`}
    <${Facts} rows=${facts} />
    <${Log} lines=${lines} open=${logOpen} toggle=${openLog} />
    ${run?.settings && html`<${Settings} run=${run} />`}
    <h2 class="small">${words.command}</h2><${Command} text=${job.command} />
  </article>`;
}
