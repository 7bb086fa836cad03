// What a calibration of a model is, and asking for one.
import { post } from "../api.js";
import { unused } from "../begin.js";
import { texts } from "../texts-work.js";
import { Command, Dialog, Field, Notice, html, useState } from "../ui.js";

const words = texts.calibrate;
const FIELDS = { horizon: { min: 1 }, lookback: { min: 2 }, origins: { min: 1 }, paths: { min: 20 } };

/** A run is calibrated in its own folder, on the bars that it was validated with; of any other model a copy is, on the source's bars. */
export function Ask({ model, models, source, state, close }) {
  const own = model.kind === "run";
  const [given, set] = useState({ horizon: state.horizon, lookback: state.lookback, origins: null, paths: 100 });
  const [name, call] = useState(unused(`${model.name.split("/").at(-1).replaceAll(/[^\w .-]/g, "-").slice(0, 48)} calibrated`, models.map((one) => one.name), true));
  const [told, tell] = useState({});
  const start = (event) => {
    event.preventDefault();
    tell({ busy: true });
    const overrides = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
    const order = { kind: "calibrate", name: name.trim(), model_ids: [model.id], overrides, ...(own ? {} : { source_id: source.id }) };
    post("/jobs", order).then((job) => tell({ job }), (error) => tell({ error: error.message }));
  };
  const field = (key) => html`<${Field} key=${key} label=${words.fields[key]}><input type="number" name="fit-${key}" ...${FIELDS[key]} step="1" required=${key === "horizon" || key === "paths"} placeholder=${words.empty[key] ?? ""} value=${given[key] ?? ""}
    onInput=${(event) => set({ ...given, [key]: event.currentTarget.value === "" ? null : Number(event.currentTarget.value) })} /><//>`;
  return html`<${Dialog} title=${words.title(model.name)} close=${close}>
    <p>${words.says}</p><p>${own ? words.own : words.copy(source.name)}</p>
    ${told.error && html`<${Notice} kind="problem"><span class="told">${told.error}</span><//>`}
    ${told.job
      ? html`<p role="status">${words.asked} <a href=${`/finetune?job=${told.job.id}`}>${words.follow}</a></p><${Command} text=${told.job.command} />`
      : html`<form class="fitting" onSubmit=${start}><div class="pair">${Object.keys(FIELDS).map(field)}</div>
          ${!own && html`<${Field} label=${words.name}><input name="fit-name" required maxlength="64" value=${name} onInput=${(event) => call(event.currentTarget.value)} /><//>`}
          <button class="first" disabled=${told.busy}>${words.start}</button></form>`}
  <//>`;
}
