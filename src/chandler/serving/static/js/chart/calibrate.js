// A model without a calibration: how one comes along, and the model that has it. `fit.js`, fetched when it is wanted, asks for one.
import { get } from "../api.js";
import { ENDED, on } from "../events.js";
import { texts } from "../texts.js";
import { Notice, Progress, html, useAnswer, useEffect } from "../ui.js";

const words = texts.chart.calibrate;

/** What can be done about a model without a calibration: begin one, see it go, take what it made. */
export function Calibrate({ model, models, state, update, ask }) {
  const { value: job, again } = useAnswer(() => get("/jobs", { limit: 100 }).then(({ jobs }) => jobs.find((one) => one.kind === "calibrate" && one.model_ids.includes(model.id)) ?? null), [model.id]);
  useEffect(() => on({ job: ({ kind }) => kind === "calibrate" && again(), resync: again }), [model.id]);
  const going = job && !ENDED.has(job.state);
  const wrong = job && (job.state === "failed" || job.state === "lost");
  const made = job?.state === "finished" ? models.find((one) => one.id === job.model_id && one.calibrated) : null;
  const take = () => update({ models: [...new Set(state.models.map((id) => (id === model.id ? made.id : id)))], focus: made.id, calibrated: true, step: null });
  return html`<div class="calibrating" data-calibration=${job?.state ?? "none"}>
    <div role="status">
      ${going && html`<p>${words.states[job.state](model.name)} <${Progress} label=${words.title(model.name)} done=${job.progress?.done} total=${job.progress?.total} /> <a href=${`/finetune?job=${job.id}`}>${words.follow}</a></p>`}
      ${made && html`<p>${words.made(made.name, model.name)} <button type="button" onClick=${take}>${words.take(made.name)}</button></p>`}
    </div>
    ${wrong && html`<${Notice} kind="problem"><span class="told">${job.message}</span><//>`}
    ${!going && html`<button type="button" onClick=${ask}>${words.begin(model.name)}</button>`}
  </div>`;
}
