// What a forecast is asked with. Nothing starts until the form is sent, but choosing models does.
import { texts } from "../texts.js";
import { Field, Notice, Select, html, useEffect, useState } from "../ui.js";
import { DEFAULTS, SETTINGS, locked } from "./address.js";
import { Swatch } from "./models.js";
import { STYLES } from "./looks.js";

const words = texts.chart.panel;
const NUMBERS = {
  horizon: { min: 1, step: 1 },
  paths: { min: 1, step: 1 },
  seed: { min: 0, step: 1 },
  temperature: { min: 0.01, max: 10, step: "any" },
  top_p: { min: 0.01, max: 1, step: "any" },
  top_k: { min: 0, step: 1 },
  lookback: { min: 2, step: 1 },
};
const SAMPLING = ["temperature", "top_p", "top_k"];

const pick = (state) => Object.fromEntries(SETTINGS.map((name) => [name, state[name]]));

/** `go` is told the settings when the form is sent, where sending them is more than showing them; `calibrate` is shown where that is switched. */
export function Panel({ state, models, limits, update, most = 4, go = null, busy = false, calibrate = null }) {
  const [draft, set] = useState(pick(state));
  const key = JSON.stringify(pick(state));
  useEffect(() => set(pick(state)), [key]);
  const put = (name, value) => set((old) => ({ ...old, [name]: value }));
  const chosen = models.filter((one) => state.models.includes(one.id));
  const calibratable = chosen.some((one) => one.calibrated);
  const fixed = locked(draft.calibrated, chosen);
  const greatest = { horizon: limits?.horizon, paths: limits?.paths };

  const field = (name) => {
    const why = fixed && SAMPLING.includes(name) ? words.locked : undefined;
    const value = why ? DEFAULTS[name] : draft[name];
    return html`<${Field} key=${name} label=${words[name]} why=${why}>
      <input type="number" name=${name} ...${NUMBERS[name]} max=${greatest[name] ?? NUMBERS[name].max} required=${name !== "lookback"} disabled=${Boolean(why)}
        placeholder=${name === "lookback" ? words.trained : ""} value=${value ?? ""}
        onInput=${(event) => put(name, event.currentTarget.value === "" ? null : Number(event.currentTarget.value))} />
    <//>`;
  };
  const submit = (event) => {
    event.preventDefault();
    (go ?? update)({ ...draft, calibrated: draft.calibrated && calibratable, step: null });
  };
  const choose = (id, on) => update({ models: on ? [...state.models, id] : state.models.filter((one) => one !== id), focus: on ? id : null });

  return html`<form class="panel" onSubmit=${submit} aria-label=${words.title}>
    <fieldset><legend>${words.models} <small>${words.most(most)}</small></legend>
      ${models.map((one) => {
        const at = state.models.indexOf(one.id);
        const off = !one.available || (at < 0 && state.models.length >= most);
        return html`<label key=${one.id} class="model" title=${one.why_not ?? ""}>
          <input type="checkbox" checked=${at >= 0} disabled=${off && at < 0} onChange=${(event) => choose(one.id, event.currentTarget.checked)} />
          <span>${one.name}${!one.available && html` <small>${words.missing}: ${one.why_not}</small>`}</span>
          ${at >= 0 && html`<${Swatch} style=${STYLES[at]} />`}
        </label>`;
      })}
    </fieldset>
    <div class="pair">${field("horizon")}${field("paths")}</div>
    <label class="check" title=${calibratable ? "" : words.uncalibrated}>
      <input type="checkbox" name="calibrated" checked=${fixed} disabled=${!calibratable} onChange=${(event) => put("calibrated", event.currentTarget.checked)} />
      <span>${words.calibrated}${!calibratable && html` <small>${words.uncalibrated}</small>`}</span>
    </label>
    ${calibrate}
    <details open=${[...SAMPLING, "lookback", "calendar", "overflow", "repair"].some((name) => state[name] !== DEFAULTS[name])}>
      <summary>${words.more}</summary>
      <div class="pair">${field("temperature")}${field("top_p")}${field("top_k")}${field("lookback")}</div>
      <${Field} label=${words.calendar}>
        <input name="calendar" list="calendars" placeholder=${words.calendarDefault} value=${draft.calendar ?? ""} onInput=${(event) => put("calendar", event.currentTarget.value || null)} />
      <//>
      <datalist id="calendars">${["inferred", "XNYS", "XNAS", "XLON", "XSHG", "XHKG", "XTKS", "24/7", "24/5"].map((one) => html`<option value=${one} />`)}</datalist>
      <${Field} label=${words.overflow}>
        <${Select} name="overflow" value=${draft.overflow} onChange=${(value) => put("overflow", value)} options=${Object.entries(words.overflows)} />
      <//>
      <label class="check"><input type="checkbox" name="repair" checked=${draft.repair} onChange=${(event) => put("repair", event.currentTarget.checked)} /><span>${words.repair}</span></label>
    </details>
    <div class="row">${field("seed")}<button type="button" onClick=${() => (go ? put("seed", (draft.seed ?? 0) + 1) : update({ ...draft, seed: (draft.seed ?? 0) + 1 }))}>${words.newSeed}</button></div>
    ${(draft.temperature < 1 || draft.top_p < 1) && !fixed && html`<${Notice}>${texts.chart.narrower}<//>`}
    <button class="first" disabled=${state.models.length === 0 || busy}>${words.go}</button>
    ${!go && JSON.stringify(draft) === key && html`<small class="soft">${words.unchanged}</small>`}
  </form>`;
}
