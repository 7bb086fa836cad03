// A setting in a form: what it is called, what it means, and whether it is another than the recipe's.
import { texts } from "../texts-work.js";
import { Select, html, useEffect, useState } from "../ui.js";
import { given, same, shown, typed, words } from "./schema.js";

const say = texts.finetune;
const NULL = "null";

function Control({ field, id, value, put, about }) {
  const own = { id, "aria-describedby": about, "data-key": field.key };
  const only = [...field.kinds].filter((kind) => kind !== NULL);
  if (field.options.length || (only.length === 1 && only[0] === "boolean" && field.kinds.has(NULL))) {
    const names = field.options.length ? field.options : [true, false];
    const options = [...(field.kinds.has(NULL) ? [[NULL, say.none]] : []), ...names.map((one) => [String(one), String(one)])];
    const now = value === null ? NULL : String(value);
    if (!options.some(([one]) => one === now)) options.push([now, now]);
    return html`<${Select} ...${own} value=${now} options=${options} onChange=${(text) => put(text === NULL ? null : names.find((one) => String(one) === text) ?? text)} />`;
  }
  if (only.length === 1 && only[0] === "boolean") {
    return html`<input ...${own} type="checkbox" checked=${value === true} onChange=${(event) => put(event.currentTarget.checked)} />`;
  }
  const numeric = only.every((kind) => kind === "number" || kind === "integer");
  return html`<input ...${own} type="text" inputmode=${numeric ? "decimal" : undefined} autocomplete="off" spellcheck="false" class=${numeric ? "figure" : ""}
    value=${shown(value)} placeholder=${field.kinds.has(NULL) ? say.none : ""} onChange=${(event) => put(typed(field, event.currentTarget.value))} />`;
}

/** One setting; `full` names it as YAML does. */
export function Setting({ field, values, recipe, changes, change, full, id = `set-${field.key}` }) {
  const standard = given(recipe.values, field);
  const changed = field.key in changes && !same(changes[field.key], standard);
  const value = field.key in changes ? changes[field.key] : given(values, field);
  const about = `${id}-about`;
  const label = full ? field.name : called(field.key);
  return html`<div class="setting ${changed ? "changed" : ""}" data-setting=${field.key}>
    <label for=${id}>${full ? html`<code>${label}</code>` : label}</label>
    <${Control} field=${field} id=${id} value=${value} about=${about} put=${(next) => change(field.key, next)} />
    ${changed && html`<span class="was">${say.was(shown(standard) || say.none)}
      <button type="button" aria-label="${say.reset}: ${field.key}" onClick=${() => change(field.key, undefined)}>${say.reset}</button></span>`}
    <small id=${about}>${field.help || (full ? "" : field.key)}</small>
  </div>`;
}

/** data.lookback: "Lookback"; predictor.learning_rate: "Predictor: learning rate". */
function called(key) {
  const parts = key.split(".");
  const name = words(parts.at(-1));
  return parts.length === 1 || parts[0] === "data" ? name : `${words(parts[0])}: ${name.charAt(0).toLowerCase()}${name.slice(1)}`;
}

/** All settings, by group, to be searched. */
export function AllSettings({ fields, values, recipe, changes, change }) {
  const [sought, seek] = useState("");
  const [mine, only] = useState(false);
  const wanted = sought.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const changed = (field) => field.key in changes;
  const seen = fields.filter((field) => (!mine || changed(field)) && wanted.every((part) => `${field.key} ${words(field.name)} ${field.help}`.toLowerCase().includes(part)));
  const groups = grouped(seen);
  const narrowed = mine || wanted.length > 0;
  return html`<div class="settings">
    <div class="row seek">
      <label class="field grow"><span>${say.search}</span><input id="search" type="search" value=${sought} placeholder=${say.searchHint} onInput=${(event) => seek(event.currentTarget.value)} /></label>
      <label class="check"><input type="checkbox" checked=${mine} onChange=${(event) => only(event.currentTarget.checked)} />${say.onlyChanged(fields.filter(changed).length)}</label>
      <span class="soft" role="status" id="found">${say.found(seen.length, fields.length)}</span>
    </div>
    ${seen.length === 0 && html`<p class="soft">${mine && !wanted.length ? say.noneChanged : say.noneFound}</p>`}
    ${[...groups].map(([group, list]) => html`<${Group} key=${group} name=${group} open=${narrowed} count=${list.length} changed=${list.filter(changed).length}>
      ${list.map((field) => html`<${Setting} key=${field.key} field=${field} values=${values} recipe=${recipe} changes=${changes} change=${change} full id=${`all-${field.key}`} />`)}
    <//>`)}
  </div>`;
}

function grouped(list) {
  const groups = new Map();
  for (const field of list) groups.set(field.group, [...(groups.get(field.group) ?? []), field]);
  return groups;
}

function Group({ name, open, count, changed, children }) {
  const [mine, set] = useState(false);
  useEffect(() => set(open), [open]);
  // Closed groups hold nothing: a hundred fields are not drawn to be hidden.
  return html`<details open=${mine} onToggle=${(event) => set(event.currentTarget.open)}>
    <summary><b>${name ? html`<code>${name}</code>` : say.run}</b> <span class="soft">${say.count(count)}</span>${changed > 0 && html` <span class="mark">${say.changedCount(changed)}</span>`}</summary>
    ${mine && html`<div class="grid">${children}</div>`}
  </details>`;
}

