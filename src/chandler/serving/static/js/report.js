// A page that a command wrote, in a frame that reaches nothing.
import { texts } from "./texts-work.js";
import { html, useState } from "./ui.js";

const words = texts.report;

export function Report({ id }) {
  const [open, show] = useState(false);
  const at = `/api/v1/reports/${id}`;
  return html`<p class="row"><button type="button" aria-expanded=${open ? "true" : "false"} onClick=${() => show(!open)}>${open ? words.hide : words.show}</button>
      <a href=${at} target="_blank" rel="noopener">${words.tab}</a><a href="${at}?download=1" download>${words.save}</a></p>
    ${open && html`<iframe class="report" sandbox="allow-scripts" src=${at} title=${words.title}></iframe>`}`;
}
