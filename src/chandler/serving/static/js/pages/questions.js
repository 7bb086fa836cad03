// What the reader must be told before it reads a file: a form of just those options.
import { texts } from "../texts-work.js";
import { Field, html, useState } from "../ui.js";

const words = texts.data;

/** What was typed, as the API takes it. */
function value(option, text) {
  if (option === "columns") return Object.fromEntries(text.split(/\n|,/).map((one) => one.split("=").map((part) => part.trim())).filter(([name, column]) => name && column));
  if (option === "price_scale") return Number(text);
  if (option === "join") return text === "true";
  return text;
}

function Choice({ option, choices, other, text, set }) {
  const [free, type] = useState(false);
  return html`<select name=${option} value=${free ? "…" : text} onChange=${(event) => {
      const own = event.currentTarget.value === "…";
      type(own);
      set(own ? "" : event.currentTarget.value);
    }}>
      <option value="" disabled selected=${!text && !free}>${words.choose}</option>
      ${choices.map(([one, name]) => html`<option key=${one} value=${one} selected=${one === text}>${name}</option>`)}
      ${other && html`<option value="…" selected=${free}>${words.other}</option>`}
    </select>
    ${free && html`<input required aria-label=${other} placeholder=${other} value=${text} onInput=${(event) => set(event.currentTarget.value)} />`}`;
}

export function Questions({ source, answer }) {
  const [given, set] = useState({});
  const put = (option, text) => set((old) => ({ ...old, [option]: text }));
  const submit = (event) => {
    event.preventDefault();
    const told = source.question.options.filter((option) => given[option]).map((option) => [option, value(option, given[option])]);
    answer(Object.fromEntries(told));
  };
  // One answer is enough where several would do; where one option is asked for, it is the one.
  return html`<form class="questions" onSubmit=${submit} aria-label="${words.asks}: ${source.name}">
    ${source.question.options.map((option) => {
      const [label, choices, other] = words.questions[option] ?? [option, ""];
      const text = given[option] ?? "";
      return html`<${Field} key=${option} label=${label}>
        ${Array.isArray(choices)
          ? html`<${Choice} option=${option} choices=${choices} other=${other} text=${text} set=${(next) => put(option, next)} />`
          : option === "columns"
            ? html`<textarea name=${option} rows="3" placeholder=${choices} value=${text} onInput=${(event) => put(option, event.currentTarget.value)}></textarea>`
            : html`<input name=${option} type=${option === "price_scale" ? "number" : "text"} step="any" placeholder=${choices} value=${text} onInput=${(event) => put(option, event.currentTarget.value)} />`}
      <//>`;
    })}
    <button class="first" disabled=${!Object.values(given).some(Boolean)}>${words.answer}</button>
  </form>`;
}
