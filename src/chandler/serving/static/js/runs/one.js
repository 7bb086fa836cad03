// One run in full: what came of it, how it went, what it was asked.
import { get, post } from "../api.js";
import { Settings, Stage } from "../finetune/job.js";
import { clock } from "../format.js";
import { ofStage } from "../records.js";
import { Report } from "../report.js";
import { texts } from "../texts-work.js";
import { Busy, Command, Dialog, Facts, Notice, Scroll, bytes, html, useAnswer, useEffect, useMemo, useState } from "../ui.js";
import { useMetrics, useNews } from "./follow.js";
import { State } from "./list.js";

const words = texts.runs;

/** Says what a calibration is, and starts it: on the bars that the run was validated with. */
function Calibrate({ run, close }) {
  const [told, tell] = useState({});
  const start = () => {
    tell({ busy: true });
    const name = `${run.name.replaceAll(/[^\w .-]/g, "-").slice(0, 50)} calibration`;
    post("/jobs", { kind: "calibrate", name, model_ids: [run.model_id] }).then((job) => tell({ job }), (found) => tell({ error: found.message }));
  };
  return html`<${Dialog} title=${words.calibrate} close=${close}><p>${words.calibrateSays}</p>
    ${told.error && html`<${Notice} kind="problem">${told.error}<//>`}
    ${told.job
      ? html`<p role="status">${words.calibrating(told.job.name)} <a href=${`/finetune?job=${told.job.id}`}>${words.follow}</a></p><${Command} text=${told.job.command} />`
      : html`<button type="button" class="first" disabled=${told.busy} onClick=${start}>${words.calibrateGo}</button>`}
  <//>`;
}

function Actions({ run }) {
  const [asks, ask] = useState(false);
  if (!run.model_id) return null;
  return html`<div class="actions">
    <a class="button first" href=${`/chart?models=${run.model_id}`}>${words.chart}</a>
    <a class="button" href=${`/judge?model=${run.model_id}`}>${words.judge}</a>
    <button type="button" onClick=${() => ask(true)}>${run.calibrated ? words.calibrateAgain : words.calibrate}</button>
    ${asks && html`<${Calibrate} run=${run} close=${() => ask(false)} />`}
  </div>`;
}

export function One({ id }) {
  const { value: run, error, again } = useAnswer(() => get(`/runs/${id}`), [id]);
  const going = run?.id === id && run.state === "running";
  const records = useMetrics(id, going);
  const stages = useMemo(() => [...new Set((records ?? []).map((one) => one.stage))].map((name) => ({ name, ...ofStage(records, name) })), [records]);
  useEffect(() => {
    if (run) document.title = `${run.name} · ${texts.pages.runs} · ${texts.name}`;
  }, [run?.name]);
  useNews(again, going, id);
  const back = html`<p><a href="/runs">← ${words.back}</a></p>`;
  if (!run || run.id !== id) return error ? html`${back}<${Notice} kind="problem">${error.message}<//>` : html`<${Busy} />`;
  const facts = [
    [words.began, run.began && clock(run.began)], [words.columns.changed, clock(run.changed)], [words.columns.bytes, run.bytes && bytes(run.bytes)],
    ...run.stages.map((one) => [texts.finetune.live.stage(one.name), one.epochs && one.planned ? words.epochs(one.epochs, one.planned) : words.status[one.status] ?? one.status]),
  ];
  const score = (name) => run.stages.find((one) => one.name === name)?.score;
  return html`<article class="run" data-run=${run.name} data-state=${run.state} data-records=${records?.length}>${back}
    <header class="head"><h1>${run.name}</h1><span role="status"><${State} run=${run} /></span><${Actions} run=${run} /></header>
    ${run.verdict.length > 0 && html`<div class="outcome" role="note" aria-label=${words.verdict}>${run.verdict.map((one) => html`<p key=${one}>${one}</p>`)}
      ${run.stages.some((one) => one.status === "kept_start") && html`<p class="soft">${texts.finetune.live.kept}</p>`}
      ${run.stages.some((one) => one.status === "improved" && run.settings[one.name]?.start === "random") && html`<p class="soft">${words.random}</p>`}</div>`}
    ${run.state === "unfinished" && html`<${Notice}>${words.unfinished}<//>`}
    ${stages.length > 0 && html`<div class="stages">${stages.map((stage) => html`<${Stage} key=${stage.name} name=${stage.name} stage=${stage} score=${score(stage.name)} steps=${stage.begin?.steps} />`)}</div>`}
    <${Facts} rows=${facts} />
    <${Settings} run=${run} />
    <details><summary>${words.files(run.files.length)}</summary><${Scroll} label=${words.files(run.files.length)} tall><table class="files">
      <tbody>${run.files.map((one) => html`<tr key=${one.name}><th scope="row"><code>${one.name}</code></th><td title=${one.bytes}>${bytes(one.bytes)}</td></tr>`)}</tbody></table><//></details>
    ${run.report_id && html`<h2>${texts.report.title}</h2><${Report} id=${run.report_id} />`}
    ${run.command && html`<h2 class="small">${run.state === "finished" ? words.again : words.goOn}</h2><${Command} text=${run.command} />`}
  </article>`;
}
