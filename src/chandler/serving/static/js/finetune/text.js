// All settings as YAML that can be edited; the server reads it, and says what is wrong in the words of the command line.
import { post } from "../api.js";
import { debounced } from "../core.js";
import { texts } from "../texts-work.js";
import { Copy, Notice, html, useEffect, useMemo, useRef, useState } from "../ui.js";
import { yaml } from "./schema.js";

const say = texts.finetune.text;

/** `pending` is a text that is not in the form yet: it is being read, or something is wrong with it. */
export function Text({ recipe, values, take, pending, hold }) {
  const [text, set] = useState(() => pending?.text ?? yaml(values));
  const count = useRef(0);
  const latest = useRef(take);
  latest.current = take;
  const ask = useMemo(
    () =>
      debounced(async (now) => {
        const mine = ++count.current;
        try {
          const { values: next, message } = await post(`/recipes/${recipe.id}/check`, { text: now });
          if (mine !== count.current) return;
          hold(message ? { text: now, message } : null);
          if (!message) latest.current(next);
        } catch (error) {
          if (mine === count.current) hold({ text: now, message: error.message });
        }
      }, 500),
    [recipe.id],
  );
  const put = (now) => (set(now), hold({ text: now, message: null }), ask(now));
  // Left while it was being read: read when one comes back.
  useEffect(() => {
    if (pending && !pending.message) ask(pending.text);
    return () => (ask.cancel(), void count.current++);
  }, [ask]);
  return html`<div class="yaml">
    <label class="field"><span>${say.label}</span>
      <textarea id="yaml" rows="24" spellcheck="false" autocomplete="off" aria-describedby="yaml-says" value=${text} onInput=${(event) => put(event.currentTarget.value)}></textarea></label>
    ${pending?.message && html`<${Notice} kind="problem"><span class="told" id="wrong">${pending.message}</span><//>`}
    <p class="row"><${Copy} text=${text} /><button type="button" onClick=${() => put(yaml(recipe.values))}>${say.reset}</button>
      <span class="soft" id="yaml-says" role="status">${!pending ? say.right : pending.message ? say.wrong : say.reading}</span></p>
  </div>`;
}
