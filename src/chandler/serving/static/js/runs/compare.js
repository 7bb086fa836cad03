// Two to six runs on one axis, with what they were asked differently and what came of each.
import { get } from "../api.js";
import { Curves } from "../curves.js";
import { curve, measuresOf, ofStage } from "../records.js";
import { texts } from "../texts-work.js";
import { Busy, Notice, Scroll, Select, html, useAnswer, useEffect, useState } from "../ui.js";
import { Gain, State } from "./list.js";

const words = texts.runs;

function Stage({ name, runs, records }) {
  const stages = runs.map((_, at) => ofStage(records[at], name));
  // What both have measured; what chose most of their checkpoints comes first.
  const measures = [...new Set(stages.flatMap(measuresOf))].filter((one) => stages.filter((each) => measuresOf(each).includes(one)).length > 1);
  const [chosen, choose] = useState(null);
  const measure = measures.includes(chosen) ? chosen : measures[0];
  if (!measure) return null;
  const series = stages.map((stage, at) => (measuresOf(stage).includes(measure) ? curve(stage, runs[at].name, measure) : { name: runs[at].name, measure, train: [], validation: [], start: null, best: null }));
  const title = texts.finetune.live.stage(name);
  return html`<section class="stage-of" data-stage=${name} aria-label=${title}><${Curves} series=${series} label=${title} />
    ${measures.length > 1 && html`<label class="field inline"><span>${texts.finetune.live.measure}</span><${Select} value=${measure} onChange=${choose} options=${measures.map((one) => [one, one])} /></label>`}</section>`;
}

const shown = (value) => (value === null ? "–" : Array.isArray(value) ? value.map(shown).join(", ") : typeof value === "object" ? JSON.stringify(value) : String(value));

export function Compare({ ids }) {
  const ask = async () => {
    const [told, ...metrics] = await Promise.all([get("/runs/compare", { ids: ids.join(",") }), ...ids.map((id) => get(`/runs/${id}/metrics`))]);
    return { ...told, records: metrics.map((one) => one.records) };
  };
  const { value, error } = useAnswer(ask, [ids.join()]);
  useEffect(() => void (document.title = `${words.comparison} · ${texts.pages.runs} · ${texts.name}`), []);
  const back = html`<p><a href="/runs">← ${words.back}</a></p>`;
  if (!value) return error ? html`${back}<${Notice} kind="problem">${error.message}<//>` : html`<${Busy} />`;
  const { runs, differences, records } = value;
  const names = runs.map((run) => html`<th key=${run.id} scope="col"><a href=${`/runs?id=${run.id}`}>${run.name}</a></th>`);
  return html`<article class="comparison" data-runs=${runs.length} data-differences=${differences.length}>${back}
    <h1>${words.comparison}</h1>
    <div class="stages">${["tokenizer", "predictor"].map((name) => html`<${Stage} key=${name} name=${name} runs=${runs} records=${records} />`)}</div>
    <p class="soft">${words.seeds}</p>
    <h2>${words.results}</h2>
    <${Scroll} label=${words.results}><table class="runs">
      <thead><tr><th scope="col">${words.columns.name}</th><th scope="col">${words.columns.state}</th><th scope="col">${words.columns.tokenizer}</th><th scope="col">${words.columns.predictor}</th></tr></thead>
      <tbody>${runs.map((run) => html`<tr key=${run.id}><th scope="row"><a href=${`/runs?id=${run.id}`}>${run.name}</a></th><td><${State} run=${run} /></td>
        ${["tokenizer", "predictor"].map((name) => html`<td key=${name}><${Gain} one=${run.stages.find((one) => one.name === name)} /></td>`)}</tr>`)}</tbody></table><//>
    <h2>${words.differences(differences.length)}</h2>
    ${differences.length > 0 && html`<${Scroll} label=${words.differences(differences.length)}><table class="differences">
      <thead><tr><th scope="col">${words.setting}</th>${names}</tr></thead>
      <tbody>${differences.map((row) => html`<tr key=${row.key}><th scope="row"><code>${row.key}</code></th>${row.values.map((one, at) => html`<td key=${at}>${shown(one)}</td>`)}</tr>`)}</tbody></table><//>`}
    <h2>${words.verdicts}</h2>
    ${runs.map((run) => html`<h3 key=${run.id}>${run.name}</h3>${run.verdict.length ? run.verdict.map((one) => html`<p key=${one}>${one}</p>`) : html`<p class="soft">${words.noVerdict}</p>`}`)}
  </article>`;
}
