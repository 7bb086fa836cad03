// Is a model better than naive? Evaluations and backtests: begun, followed, read.
import { all, get } from "../api.js";
import { route, useStore } from "../core.js";
import { ENDED, on } from "../events.js";
import { clock } from "../format.js";
import { useStock } from "../stock.js";
import { texts } from "../texts-work.js";
import { Busy, Notice, html, useAnswer, useEffect, useState } from "../ui.js";
import { Form } from "../judge/form.js";
import { Job, One } from "../judge/outcome.js";

const words = texts.judge;
/** Headlines that are read for the list by itself. */
const READ = 12;

function List({ jobs }) {
  const { value: list, error, again } = useAnswer(() => all("/evaluations", "evaluations"), []);
  const [headlines, put] = useState({});
  useEffect(() => on({ job: ({ state }) => ENDED.has(state) && again(), resync: again }), []);
  useEffect(() => {
    let over = false;
    (async () => {
      for (const one of (list ?? []).filter((one) => one.state === "finished" && !one.headline && !(one.id in headlines)).slice(0, READ)) {
        if (over) return;
        const found = await get(`/evaluations/${one.id}`).catch(() => null);
        if (!over) put((old) => ({ ...old, [one.id]: found?.verdict[0] ?? null }));
      }
    })();
    return () => void (over = true);
  }, [list]);
  if (error) return html`<${Notice} kind="problem">${error.message}<//>`;
  if (!list) return html`<${Busy} />`;
  const there = new Set(list.map((one) => one.job_id));
  const open = (jobs ?? []).filter((job) => !there.has(job.id) && (!ENDED.has(job.state) || job.state === "failed" || job.state === "lost")).slice(0, 10);
  return html`<h2>${words.earlier}</h2>
    ${!list.length && !open.length && html`<p class="soft">${words.none}</p>`}
    <ul class="judgements">
      ${open.map((job) => html`<li key=${job.id} data-job=${job.id}><header><a href="/judge?job=${job.id}">${job.name}</a> <span class="mark ${job.state}">${texts.finetune.states[job.state]}</span> <span class="soft">${clock(job.created)}</span></header>${job.message && html`<p class="told">${job.message.split("\n")[0]}</p>`}</li>`)}
      ${list.map((one) => html`<li key=${one.id} data-evaluation=${one.id}><header><a href=${one.state === "running" && one.job_id ? `/judge?job=${one.job_id}` : `/judge?id=${one.id}`}>${one.name}</a>
        <span class="mark ${one.state}">${one.state === "finished" ? words.one[one.kind] : words.states[one.state]}</span> <span class="soft">${clock(one.made)}</span></header>
        ${(one.headline ?? headlines[one.id]) && html`<p>${one.headline ?? headlines[one.id]}</p>`}</li>`)}
    </ul>`;
}

function New({ model }) {
  const { sources, models, error } = useStock();
  const { value: jobs, again } = useAnswer(() => all("/jobs", "jobs").then((list) => list.filter((job) => job.kind === "evaluate" || job.kind === "backtest")), []);
  const { value: there } = useAnswer(() => all("/evaluations", "evaluations"), []);
  useEffect(() => on({ job: again, resync: again }), []);
  if (error && !sources) return html`<${Notice} kind="problem">${error.message}<//>`;
  return html`<h1>${words.title}</h1><p class="soft">${words.lead}</p>
    ${sources && models && jobs && there ? html`<${Form} sources=${sources} models=${models} chosen=${model ? [model] : null} taken=${[...jobs, ...there].map((one) => one.name)} />` : html`<${Busy} />`}
    <${List} jobs=${jobs} />`;
}

export function View() {
  const { query } = useStore(route);
  const job = query.get("job");
  const id = query.get("id");
  return html`<div class="page wide">${job ? html`<${Job} key=${job} id=${job} />` : id ? html`<${One} key=${id} id=${id} />` : html`<${New} key=${query.get("model")} model=${query.get("model")} />`}</div>`;
}
