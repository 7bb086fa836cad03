// What is to be judged, on which bars, and how: the settings of `evaluate` and `backtest` that one changes most.
import { unused, useBegin } from "../begin.js";
import { texts } from "../texts-work.js";
import { Field, Notice, Select, Toggle, html, integer, useState } from "../ui.js";

const words = texts.judge;
const BASELINES = ["last_close", "bootstrap", "gaussian_walk", "ewma", "garch", "dlinear", "volume_by_time_of_day"];
const USUAL = BASELINES.filter((one) => one !== "garch");
/** key -> kind of its field; what is left as it is goes to nobody. */
const FIELDS = {
  evaluate: { horizon: "number", lookback: "number", stride: "number", origins: "number", paths: "number", start: "date", end: "date" },
  backtest: { horizon: "number", lookback: "number", every: "number", paths: "number", "portfolio.k": "number", random: "number", start: "date", end: "date" },
};
const DEFAULTS = { evaluate: { horizon: 10, lookback: 90, paths: 100 }, backtest: { every: 1, paths: 10, random: 100 } };
const LEAST = { lookback: 2, random: 0 };

const value = (kind, text) => (kind === "number" ? Number(text) : text);

/** A name for a folder; of models that lie deep the last part. */
function suggested(kind, models, taken) {
  const base = kind === "evaluate" ? "evaluation" : "backtest";
  const of = models.length ? ` ${models[0].name.split("/").at(-1).replace(/[^\w -]/g, "-")}` : "";
  return unused(`${base}${of}`.slice(0, 56), taken);
}

export function Form({ sources, models, chosen, taken }) {
  const ready = sources.filter((one) => one.state === "ready");
  const [kind, turn] = useState("evaluate");
  const [source, bars] = useState(null);
  const [picked, pick] = useState(chosen ?? models.filter((one) => one.available).slice(0, 1).map((one) => one.id));
  const [baselines, hold] = useState(USUAL);
  const [given, set] = useState({});
  const [force, allow] = useState(false);
  const [typed, call] = useState(null);
  const one = kind === "backtest";
  const some = models.filter((model) => picked.includes(model.id)).slice(0, one ? 1 : 8);
  const name = typed ?? suggested(kind, some, taken);
  const from = ready.find((each) => each.id === source) ?? ready[0];
  const choose = (id, on) => pick(one ? [id] : on ? [...picked, id] : picked.filter((other) => other !== id));
  const { begin, busy, said } = useBegin("/judge", () => {
    const fields = FIELDS[kind];
    const overrides = Object.fromEntries(Object.keys(fields).filter((key) => given[key]).map((key) => [key, value(fields[key], given[key])]));
    if (!one && given.calibration && given.calibration !== "auto") overrides.calibration = given.calibration;
    if (!one && baselines.join() !== USUAL.join()) overrides.baselines = baselines;
    return { kind, name: name.trim(), source_id: from.id, model_ids: some.map((model) => model.id), overrides, flags: { force } };
  });
  if (!ready.length) return html`<${Notice}>${words.noBars} <a href="/data">${texts.pages.data}</a><//>`;
  return html`<form class="judging" onSubmit=${(event) => (event.preventDefault(), busy || begin())}>
    <div class="toggles" role="group" aria-label=${words.kind}>${["evaluate", "backtest"].map((which) => html`<${Toggle} key=${which} on=${kind === which} label=${words.kinds[which]} onClick=${() => turn(which)} />`)}</div>
    <p class="soft">${words.about[kind]}</p>
    <div class="sides">
      <fieldset><legend>${one ? words.model : words.models}</legend>
        ${models.map((model) => html`<label key=${model.id} class="check"><input type=${one ? "radio" : "checkbox"} name="model" checked=${some.includes(model)} disabled=${!model.available} onChange=${(event) => choose(model.id, event.currentTarget.checked)} />
          <span>${model.name}${!model.available && html` <small>${model.why_not}</small>`}</span></label>`)}
      </fieldset>
      ${!one && html`<fieldset><legend>${words.baselines}</legend>${BASELINES.map((each) => html`<label key=${each} class="check"><input type="checkbox" name="baseline" value=${each} checked=${baselines.includes(each)}
          onChange=${(event) => hold(BASELINES.filter((other) => (other === each ? event.currentTarget.checked : baselines.includes(other))))} /><span>${words.baseline[each]}</span></label>`)}</fieldset>`}
      <div class="fields">
        <${Field} label=${texts.chart.source}><${Select} id="source" value=${from.id} onChange=${bars} options=${ready.map((each) => [each.id, `${each.name} (${integer(each.symbols)})`])} /><//>
        ${Object.entries(FIELDS[kind]).map(([key, type]) => html`<${Field} key=${key} label=${words.fields[key]} help=${words.helps[key]}>
          <input name=${key} type=${type === "number" ? "number" : "text"} min=${type === "number" ? (LEAST[key] ?? 1) : undefined} step="1" placeholder=${DEFAULTS[kind][key] ?? words.empty[key] ?? ""} value=${given[key] ?? ""}
            onInput=${(event) => set({ ...given, [key]: event.currentTarget.value })} /><//>`)}
        ${!one && html`<${Field} label=${words.calibration}><${Select} name="calibration" value=${given.calibration ?? "auto"} onChange=${(next) => set({ ...given, calibration: next })} options=${Object.entries(words.calibrations)} /><//>`}
      </div>
    </div>
    <label class="check force"><input type="checkbox" name="force" checked=${force} onChange=${(event) => allow(event.currentTarget.checked)} /><span>${words.force}</span></label>
    ${force && html`<${Notice} kind="warning">${words.forced}<//>`}
    <div class="row"><${Field} label=${words.name}><input id="name" value=${name} required maxlength="64" onInput=${(event) => call(event.currentTarget.value)} /><//>
      <button class="first" id="start" disabled=${busy || (one ? some.length !== 1 : !some.length && !baselines.length)}>${busy ? texts.begin.starting : words.start[kind]}</button></div>
    ${said}
  </form>`;
}
