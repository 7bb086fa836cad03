// Adapting a model to one's own bars: what is needed before, the run as it goes, and what came of it.
import { all, get, together } from "../api.js";
import { unused, useBegin } from "../begin.js";
import { go, route, useStore } from "../core.js";
import { ENDED, on } from "../events.js";
import { clock } from "../format.js";
import { useStock } from "../stock.js";
import { texts } from "../texts-work.js";
import { Busy, Empty, Field, Notice, Scroll, Select, Toggle, html, integer, seconds, useAnswer, useEffect, useMemo, useState } from "../ui.js";
import { changed, kept, unchecked, useChecked, useDraft, usePreflight, useRecipe } from "../finetune/draft.js";
import { AllSettings, Setting } from "../finetune/fields.js";
import { Bar, Job } from "../finetune/job.js";
import { NotReady, Verdict, passed } from "../finetune/preflight.js";
import { Text } from "../finetune/text.js";

const say = texts.finetune;

/** One of the steps: done, open, or in the way. */
const Step = ({ number, title, state, children }) => html`<section class="step-of ${state}" data-step=${number} data-state=${state} aria-labelledby="step-${number}">
  <h2 id="step-${number}"><span class="number" aria-hidden="true">${state === "done" ? "✓" : number}</span>${title}<span class="out"> (${say.stepStates[state]})</span></h2>${children}</section>`;

function Recipes({ recipes, chosen, choose }) {
  return html`<div class="recipes" role="radiogroup" aria-label=${say.recipe}>${recipes.map(
    ({ id, title, about }) => html`<label key=${id} class=${id === chosen ? "on" : ""}><input type="radio" name="recipe" value=${id} checked=${id === chosen} onChange=${() => choose(id)} />
      <span><b>${title}</b><small>${about}</small></span></label>`,
  )}</div>`;
}

function Settings({ recipe, fields, values, draft, change, replace, checked, pending, hold }) {
  const [tab, turn] = useState("main");
  const main = recipe.main.map((key) => fields.find((field) => field.key === key)).filter(Boolean);
  const own = { recipe, values, changes: draft.changes, change };
  const tabs = [["main", say.tabs.main], ["all", say.tabs.all], ["text", say.tabs.text]];
  return html`<div class="toggles" role="group" aria-label=${say.settings}>${tabs.map(([name, label]) => html`<${Toggle} key=${name} on=${tab === name} label=${label} onClick=${() => turn(name)} />`)}
      ${Object.keys(draft.changes).length > 0 && html`<button type="button" onClick=${() => (hold(null), replace({}), tab === "text" && turn("main"))}>${say.resetAll(Object.keys(draft.changes).length)}</button>`}</div>
    ${tab === "main" && html`<div class="grid main">${main.map((field) => html`<${Setting} key=${field.key} field=${field} ...${own} />`)}</div>`}
    ${tab === "all" && html`<${AllSettings} fields=${fields} ...${own} />`}
    ${tab === "text" && html`<${Text} recipe=${recipe} values=${values} take=${(next) => replace(changed(fields, recipe.values, next))} pending=${pending} hold=${hold} />`}
    ${checked.message && tab !== "text" && html`<${Notice} kind="problem"><span class="told" id="wrong">${checked.message}</span><//>`}`;
}

function Start({ draft, update, source, recipe, jobs, ready, why }) {
  const [typed, type] = useState(draft.name);
  const name = typed ?? unused(recipe.id, jobs.map((job) => job.name));
  const { begin, busy, said } = useBegin("/finetune", () => ({
    kind: "finetune", name: name.trim(), source_id: source.id, model_ids: draft.model ? [draft.model] : [], recipe_id: recipe.id, overrides: draft.changes,
  }));
  return html`<form class="start" onSubmit=${(event) => (event.preventDefault(), ready && !busy && begin())}>
    <${Field} label=${say.name}><input id="name" value=${name} required maxlength="64" pattern="[\\p{L}\\p{N}_][\\p{L}\\p{N}_ .\\-]*" title=${say.nameHelp} onInput=${(event) => (type(event.currentTarget.value), update({ name: event.currentTarget.value }))} /><//>
    <button class="first" id="start" disabled=${!ready || busy} aria-describedby="start-why">${busy ? texts.begin.starting : say.start}</button>
    <span id="start-why" class="soft">${why ?? ""}</span>
    ${said}
  </form>`;
}

function Earlier({ jobs }) {
  const { columns } = say;
  if (!jobs?.length) return null;
  return html`<h2>${say.jobs}</h2><${Scroll} label=${say.jobs}><table class="jobs">
    <thead><tr>${["name", "state", "created", "took"].map((one) => html`<th key=${one} scope="col">${columns[one]}</th>`)}</tr></thead>
    <tbody>${jobs.map((job) => html`<tr key=${job.id} data-row=${job.id} data-state=${job.state}>
      <th scope="row"><a href="/finetune?job=${job.id}">${job.name}</a></th>
      <td><span class="mark ${job.state}">${say.states[job.state]}</span>${job.state === "failed" && job.message ? html`<small class="told">${job.message.split("\n")[0]}</small>` : ""}</td>
      <td>${clock(job.created)}</td><td>${job.started && job.ended ? seconds(job.ended - job.started) : "–"}</td></tr>`)}</tbody>
  </table><//>`;
}

function New({ jobs }) {
  const [draft, update] = useDraft();
  const { sources, models, error } = useStock();
  const { value: told, error: lost } = useAnswer(() => get("/recipes"), []);
  const recipes = told?.recipes;
  const source = sources?.find((one) => one.id === draft.source) ?? null;
  const chosen = draft.recipe ?? recipes?.[0]?.id ?? null;
  const { recipe, fields, values, error: missing } = useRecipe(chosen, draft.changes);
  const checked = useChecked(recipe, draft.changes);
  const [pending, hold] = useState(null);
  const flight = usePreflight(source, checked.message ? null : values, draft, update);
  const change = (key, value) => {
    const changes = { ...draft.changes };
    if (value === undefined) delete changes[key];
    else changes[key] = value;
    replace(changes);
  };
  const replace = (changes) => update({ changes: kept(fields, recipe.values, changes) });
  const starts = useMemo(() => (models ?? []).filter((one) => one.available), [models]);
  if (!sources || !models || !recipes) return error || lost ? html`<${Notice} kind="problem">${(error ?? lost).message}<//>` : html`<${Busy} />`;
  if (!sources.length) return html`<${Empty} title=${texts.chart.none[0]}><p>${texts.chart.none[1]}</p><p><a class="button" href="/data">${texts.chart.toData}</a></p><//>`;
  const bars = passed(flight.job);
  const start = recipe && !draft.model ? models.find((one) => one.name === recipe.start) : null;
  const absent = start && !start.available;
  const why = !source ? say.why.source : source.state !== "ready" ? say.why.notReady : pending ? say.why.text : checked.message ? say.why.settings : absent ? say.why.model : !bars ? (flight.job && ENDED.has(flight.job.state) ? say.why.bars : say.why.checking) : null;
  const ignored = unchecked(draft.changes);
  return html`<div class="steps">
    <${Step} number=${1} title=${say.bars} state=${source?.state === "ready" ? "done" : "open"}>
      <${Field} label=${texts.chart.source}><${Select} id="source" value=${draft.source ?? ""} onChange=${(id) => update({ source: id, check: null })}
        options=${[["", say.choose, true], ...sources.map((one) => [one.id, one.state === "ready" ? `${one.name} · ${say.sourceSays(integer(one.symbols), integer(one.rows))}` : `${one.name} (${texts.data.states[one.state]})`])]} /><//>
      ${!source && html`<p class="soft">${say.barsSay} <a href="/data">${say.add}</a></p>`}
      ${source && source.state !== "ready" && html`<${NotReady} source=${source} />`}
    <//>
    <${Step} number=${2} title=${say.check} state=${bars ? "done" : flight.job && ENDED.has(flight.job.state) ? "blocked" : "open"}>
      ${source?.state !== "ready" ? html`<p class="soft">${say.checkSays}</p>` : checked.message ? html`<p class="soft">${say.why.settings}</p>` : html`<${Verdict} job=${flight.job} error=${flight.error} again=${flight.again} />`}
      ${ignored.length > 0 && html`<${Notice} kind="warning">${say.ignored(ignored)}<//>`}
    <//>
    <${Step} number=${3} title=${say.recipe} state=${absent ? "blocked" : recipe ? "done" : "open"}>
      <${Recipes} recipes=${recipes} chosen=${chosen} choose=${(id) => (hold(null), update({ recipe: id }))} />
      ${missing && html`<${Notice} kind="problem">${missing.message}<//>`}
      <${Field} label=${say.model}><${Select} id="model" value=${draft.model ?? ""} onChange=${(id) => update({ model: id || null })}
        options=${[["", recipe ? say.asRecipe(recipe.start) : say.itsOwn], ...starts.map((one) => [one.id, one.name])]} /><//>
      ${absent && html`<${Notice} kind="warning">${say.absent(start.name, start.why_not)}<//>`}
    <//>
    <${Step} number=${4} title=${say.settings} state=${!recipe ? "open" : checked.message || pending?.message ? "blocked" : "done"}>
      ${recipe ? html`<${Settings} key=${recipe.id} recipe=${recipe} fields=${fields} values=${values} draft=${draft} change=${change} replace=${replace} checked=${checked} pending=${pending} hold=${hold} />` : !missing && html`<${Busy} text=${say.waiting} />`}
    <//>
    <${Step} number=${5} title=${say.go} state="open">
      ${recipe && jobs && html`<${Start} draft=${draft} update=${update} source=${source} recipe=${recipe} jobs=${jobs} ready=${why === null && checked.settled} why=${why} />`}
    <//>
  </div>`;
}

/** The finetunings of this server, the newest first. Of one that goes on only that one is asked about. */
function useJobs(wanted) {
  const [jobs, set] = useState(null);
  useEffect(() => {
    if (!wanted) return;
    let over = false;
    const put = (next) => over || set(next);
    const anew = () => all("/jobs", "jobs").then((list) => put(list.filter((job) => job.kind === "finetune")), () => {});
    const one = ({ id, kind }) =>
      kind === "finetune" &&
      together(`/jobs/${id}`).then((job) => put((old) => old && (old.some((each) => each.id === id) ? old.map((each) => (each.id === id ? job : each)) : [job, ...old])), () => {});
    const end = on({ job: one, resync: anew });
    anew();
    return () => ((over = true), end());
  }, [wanted]);
  return jobs;
}

export function View() {
  const { query } = useStore(route);
  const id = query.get("job");
  const jobs = useJobs(!id);
  if (id) return html`<div class="page wide finetune"><${Job} key=${id} id=${id} /></div>`;
  const going = jobs?.filter((job) => !ENDED.has(job.state)) ?? [];
  return html`<div class="page wide finetune"><h1>${texts.pages.finetune}</h1><p class="soft">${say.lead}</p>
    ${going.map((job) => html`<${Notice} key=${job.id}><a href="/finetune?job=${job.id}">${job.name}</a> <span class="mark ${job.state}">${say.states[job.state]}</span> ${job.state === "running" && html`<${Bar} job=${job} />`}<//>`)}
    <${New} jobs=${jobs} /><${Earlier} jobs=${jobs} /></div>`;
}
