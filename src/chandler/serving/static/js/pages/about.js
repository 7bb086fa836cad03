// What this server is, whose work it shows, and how a script calls it.
import { call, signedIn } from "../api.js";
import { useStore } from "../core.js";
import { texts } from "../texts-work.js";
import { Busy, Command, Facts, bytes, html, integer } from "../ui.js";

const words = texts.about;
const vendor = new URL("../../vendor/", import.meta.url).pathname;

export function View({ system }) {
  const facts = useStore(system);
  const rows = facts && [
    ["version", facts.version], ["device", facts.device], ["cpu", facts.cpu], ["memory", bytes(facts.memory_free)],
    ["worker", `${facts.worker}${facts.worker_message ? `: ${facts.worker_message}` : ""}`], ["offline", words.offline[facts.offline ? 1 : 0]], ["workspace", facts.workspace],
    ["upload", bytes(facts.limits?.upload_bytes)], ["bars", integer(facts.limits?.bars)], ["paths", integer(facts.limits?.paths)], ["horizon", integer(facts.limits?.horizon)],
  ].map(([name, value]) => [words.facts[name], value]);
  const origin = location.origin;
  const out = () => call("DELETE", "/session").catch(() => {}).then(() => signedIn.set(false));
  return html`<div class="page"><h1>${words.title}</h1><p>${words.notAdvice}</p>
    <h2>${words.versions}</h2>
    ${rows ? html`<${Facts} rows=${rows} />` : html`<${Busy} />`}
    <h2>${words.api}</h2><p>${words.apiSays}</p>
    <${Command} text=${`curl -H "Authorization: Bearer $TOKEN" ${origin}/api/v1/sources`} />
    <${Command} text=${`curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -H "Prefer: wait=30" -d '{"source_id": "src_…", "symbols": ["AAPL"], "model_id": "mdl_…", "horizon": 24}' ${origin}/api/v1/forecasts`} />
    <p><a href="/api/v1/openapi.json" target="_blank" rel="noopener">${words.described}</a></p>
    <h2>${words.licences}</h2><p>${words.own}</p>
    <ul>
      <li>${words.charts} (<a href="${vendor}lightweight-charts-5.2.1/LICENSE.txt" target="_blank" rel="noopener">${words.licence}</a>)
        <blockquote>${texts.credit.notice}<br />${texts.credit.rest} <a href=${texts.credit.link} target="_blank" rel="noopener noreferrer">${texts.credit.link}</a></blockquote></li>
      <li>${words.views} (<a href="${vendor}preact-htm-3.1.1/LICENSE.txt" target="_blank" rel="noopener">htm</a>, <a href="${vendor}preact-htm-3.1.1/LICENSE-preact.txt" target="_blank" rel="noopener">Preact</a>)</li>
    </ul>
    <p><button type="button" onClick=${out}>${words.signOut}</button></p>
  </div>`;
}
