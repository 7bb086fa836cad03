// What an evaluation or a backtest comes to: its sentences, its table, its report in a frame that reaches nothing.
import { get } from "../api.js";
import { ENDED, on } from "../events.js";
import { clock } from "../format.js";
import { Report } from "../report.js";
import { texts } from "../texts-work.js";
import { Busy, Command, Notice, Progress, Scroll, html, integer, number, seconds, useAnswer, useEffect, useState } from "../ui.js";
import { Buttons, Log } from "../finetune/job.js";
import { useLive } from "../finetune/live.js";

const words = texts.judge;

function Table({ table }) {
  return html`<${Scroll} label=${table.title}><table class="judged"><caption>${table.title}</caption>
    <thead><tr>${table.columns.map((one, at) => html`<th key=${at} scope="col">${one || html`<span class="out">${words.contender}</span>`}</th>`)}</tr></thead>
    <tbody>${table.rows.map(([name, ...cells]) => html`<tr key=${name}><th scope="row">${name}</th>${cells.map((cell, at) => html`<td key=${at}>${cell}</td>`)}</tr>`)}</tbody></table><//>`;
}

/** A sentence of the verdict; what it is about comes before the colon that a sentence follows. */
function Line({ text }) {
  const [, about, said] = text.match(/^(.{1,90}?): ([A-Z\d+−-].*)$/s) ?? [null, null, text];
  return html`<li>${about && html`<b>${about.replace(/\?$/, "")}.</b> `}${said}</li>`;
}

/** The verdict of one that has finished, by its id. */
export function Verdict({ id, revision }) {
  const { value, error } = useAnswer(() => get(`/evaluations/${id}`), [id, revision]);
  if (error) return error.status === 404 ? html`<p class="soft">${words.nothing}</p>` : html`<${Notice} kind="problem">${error.message}<//>`;
  if (!value) return html`<${Busy} text=${words.reading} />`;
  if (!value.verdict.length) return html`<p class="soft">${words.unfinished}</p>`;
  const [headline, ...lines] = value.verdict;
  return html`<section class="told-verdict" data-evaluation=${id} aria-label=${words.verdict}><p class="headline" id="headline">${headline}</p>
    <ul id="sentences">${lines.map((one) => html`<${Line} key=${one} text=${one} />`)}</ul>
    ${value.tables.map((one) => html`<${Table} key=${one.title} table=${one} />`)}
    ${value.report_id && html`<${Report} id=${value.report_id} />`}</section>`;
}

function Bar({ progress }) {
  const share = progress?.total ? Math.min(progress.done / progress.total, 0.99) : null;
  const facts = progress && [progress.stage, progress.total && words.windows(integer(progress.done), integer(progress.total)), progress.rate && texts.finetune.live.rate(number(progress.rate, 3)), Number.isFinite(progress.seconds_left) && progress.seconds_left !== null && words.left(seconds(progress.seconds_left))].filter(Boolean);
  return html`<div class="going" data-done=${progress?.done} data-total=${progress?.total}><${Progress} label=${texts.tray.progress} done=${share} total=${share === null ? null : 1} />
    <span>${facts?.length ? facts.join(" · ") : texts.finetune.live.beginning}</span></div>`;
}

export function Job({ id }) {
  const [logOpen, openLog] = useState(false);
  const { job, lines, error, again } = useLive(id, logOpen);
  useEffect(() => void (job && (document.title = `${job.name} · ${texts.pages.judge} · ${texts.name}`)), [job?.name]);
  if (!job) return error ? html`<${Notice} kind="problem">${error.message} <a href="/judge">${words.back}</a><//>` : html`<${Busy} />`;
  const { states } = texts.finetune;
  const wrong = job.state === "failed" || job.state === "lost";
  return html`<article class="job" data-job=${job.id} data-state=${job.state}>
    <p><a href="/judge">← ${words.back}</a></p>
    <header class="head"><h1>${job.name}</h1> <span class="mark ${job.state}" id="state" role="status">${states[job.state]}</span><${Buttons} job=${job} again=${again} /></header>
    ${error && html`<${Notice} kind="problem">${error.message}<//>`}
    ${!ENDED.has(job.state) && job.state !== "queued" && html`<${Bar} progress=${job.progress} />`}
    ${job.state === "queued" && html`<${Notice}>${texts.finetune.live.queued(job.position)}<//>`}
    ${wrong && html`<${Notice} kind="problem"><p class="told" id="message">${job.message ?? texts.finetune.live.says[job.state]}</p><//>`}
    ${job.state === "stopped" && html`<${Notice}><p class="told">${job.message ?? words.stopped}</p><//>`}
    ${job.state === "finished" && job.evaluation_id && html`<${Verdict} id=${job.evaluation_id} revision=${job.ended} />`}
    <p class="soft">${clock(job.created)}${job.started && job.ended ? ` · ${seconds(job.ended - job.started)}` : ""}</p>
    <${Log} lines=${lines} open=${logOpen} toggle=${openLog} />
    <h2 class="small">${texts.chart.command}</h2><${Command} text=${job.command} />
  </article>`;
}

export function One({ id }) {
  const { value, error, again } = useAnswer(() => get(`/evaluations/${id}`), [id]);
  useEffect(() => on({ job: ({ state }) => ENDED.has(state) && again() }), [id]);
  if (error) return html`<${Notice} kind="problem">${error.message} <a href="/judge">${words.back}</a><//>`;
  if (!value) return html`<${Busy} text=${words.reading} />`;
  return html`<article><p><a href="/judge">← ${words.back}</a></p>
    <header class="head"><h1>${value.name}</h1> <span class="mark">${words.one[value.kind]}</span></header>
    <p class="soft">${clock(value.made)}${value.job_id && html` · <a href="/judge?job=${value.job_id}">${words.job}</a>`}</p>
    <${Verdict} id=${id} revision=${value.made} /></article>`;
}
