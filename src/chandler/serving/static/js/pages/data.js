// Where bars come from: what is there, adding a file, and what the reader wants to be told about it.
import { all, call, upload } from "../api.js";
import { useStore } from "../core.js";
import { on } from "../events.js";
import { daily, length, moment, zoneName } from "../format.js";
import { texts } from "../texts-work.js";
import { Busy, Dialog, Empty, Facts, Notice, Progress, bytes, html, integer, useAnswer, useEffect, useRef, useState } from "../ui.js";
import { Questions } from "./questions.js";

const words = texts.data;

function Span({ source }) {
  if (source.first === null || source.first === undefined) return "–";
  const facts = { zone: source.zone, step_seconds: source.step_seconds };
  return html`${moment(source.first, facts)} – ${moment(source.last, facts)}`;
}

function Actions({ source, act, ask }) {
  const chart = `/chart?${new URLSearchParams({ source: source.id })}`;
  return html`<div class="actions">
    ${source.state === "ready" && html`<a class="button first" href=${chart} aria-label="${words.open}: ${source.name}">${words.open}</a>`}
    ${source.state === "new" && html`<button type="button" class="first" aria-label="${words.read}: ${source.name}" onClick=${() => act("POST", "/refresh")}>${words.read}</button>`}
    ${source.kind !== "bundled" && ["ready", "failed"].includes(source.state) && html`<button type="button" aria-label="${words.again}: ${source.name}" onClick=${() => act("POST", "/refresh")}>${words.again}</button>`}
    ${source.kind === "upload" && html`<button type="button" aria-label="${words.remove}: ${source.name}" onClick=${ask}>${words.remove}</button>`}
  </div>`;
}

function Source({ source, again }) {
  const [error, fail] = useState(null);
  const [sure, ask] = useState(false);
  const act = async (method, path = "", body) => {
    fail(null);
    try {
      await call(method, `/sources/${source.id}${path}`, body);
      again();
    } catch (found) {
      fail(found.message);
    }
  };
  const { columns } = words;
  const facts = [
    [columns.rows, integer(source.rows)], [columns.symbols, integer(source.symbols)], [columns.span, html`<${Span} source=${source} />`],
    [columns.step, length(source.step_seconds)], [columns.zone, source.zone ? zoneName(source.zone) : daily(source.step_seconds) ? null : texts.noZone],
  ];
  return html`<li class="source" data-source=${source.name} data-state=${source.state}>
    <header><h2>${source.name}</h2> <span class="mark ${source.state}">${words.states[source.state]}</span> <span class="soft">${words.kinds[source.kind]}</span>
      <${Actions} source=${source} act=${act} ask=${() => ask(true)} /></header>
    ${source.state === "reading" && html`<${Progress} label=${words.states.reading} />`}
    ${source.state === "ready" && html`<${Facts} rows=${facts} />`}
    ${source.message && html`<${Notice} kind=${source.state === "failed" ? "problem" : "warning"}><span class="told">${source.message}</span><//>`}
    ${source.question && html`<${Questions} source=${source} answer=${(body) => act("PATCH", "", body)} />`}
    ${error && html`<${Notice} kind="problem" close=${() => fail(null)}>${error}<//>`}
    ${source.notes?.length > 0 && html`<details><summary>${words.notes(source.notes.length)}</summary><ul>${source.notes.map((one) => html`<li key=${one}>${one}</li>`)}</ul></details>`}
    ${sure && html`<${Dialog} title=${words.remove} close=${() => ask(false)}><p>${words.sure(source.name)}</p>
      <div class="row"><button type="button" class="first" onClick=${() => (ask(false), act("DELETE"))}>${words.reallyRemove}</button>
      <button type="button" onClick=${() => ask(false)}>${words.keep}</button></div><//>`}
  </li>`;
}

/** Files on their way: they go one after another. */
function useUploads(limit, again) {
  const [files, set] = useState([]);
  const chain = useRef(Promise.resolve());
  const change = (file, facts) => set((old) => old.map((one) => (one.file === file ? { ...one, ...facts } : one)));
  const add = (list) => {
    for (const file of list) {
      set((old) => [...old, { file, share: 0, error: null }]);
      if (limit && file.size > limit) {
        change(file, { error: words.tooLarge(file.name, bytes(file.size), bytes(limit)) });
        continue;
      }
      chain.current = chain.current
        .then(() => upload(file, (share) => change(file, { share })))
        .then(() => (set((old) => old.filter((one) => one.file !== file)), again()))
        .catch((error) => change(file, { error: error.message }));
    }
  };
  return { files, add, forget: (file) => set((old) => old.filter((one) => one.file !== file)) };
}

export function View({ system }) {
  const limit = useStore(system)?.limits?.upload_bytes;
  const { value: sources, error, again } = useAnswer(() => all("/sources", "sources"), []);
  const { files, add, forget } = useUploads(limit, again);
  const [over, hover] = useState(false);
  const field = useRef(null);
  useEffect(() => {
    const end = on({ source: again, resync: again });
    const drag = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      hover(event.type === "dragover");
      if (event.type === "drop") add([...event.dataTransfer.files]);
    };
    const leave = (event) => event.relatedTarget === null && hover(false);
    document.addEventListener("dragover", drag);
    document.addEventListener("drop", drag);
    document.addEventListener("dragleave", leave);
    return () => {
      end();
      document.removeEventListener("dragover", drag);
      document.removeEventListener("drop", drag);
      document.removeEventListener("dragleave", leave);
    };
  }, [limit]);
  return html`<div class="page">
    <h1>${words.title}</h1><p class="soft">${words.lead}</p>
    <div class="drop ${over ? "over" : ""}">
      <input ref=${field} id="file" type="file" multiple class="out" tabindex="-1" aria-hidden="true" onChange=${(event) => (add([...event.currentTarget.files]), (event.currentTarget.value = ""))} />
      <button type="button" class="first" onClick=${() => field.current.click()}>${words.add}</button>
      <span>${over ? words.dropping : words.drop}</span>${limit && html` <small class="soft">≤ ${bytes(limit)}</small>`}
    </div>
    <ul class="uploads" aria-live="polite">${files.map(({ file, share, error: failed }) => html`<li key=${file.name}>
      ${failed ? html`<${Notice} kind="problem" close=${() => forget(file)}>${failed}<//>` : html`${words.uploading(file.name)} <${Progress} label=${words.uploading(file.name)} done=${share} total=${1} />`}
    </li>`)}</ul>
    ${error && html`<${Notice} kind="problem">${error.message}<//>`}
    ${!sources && !error && html`<${Busy} />`}
    ${sources?.length === 0 && html`<${Empty} title=${words.none[0]}><p>${words.none[1]}</p><//>`}
    ${sources && html`<ul class="sources">${sources.map((one) => html`<${Source} key=${one.id} source=${one} again=${again} />`)}</ul>`}
  </div>`;
}
