// Beginning a job: its name, and whether what its folder holds is to be replaced.
import { post } from "./api.js";
import { go } from "./core.js";
import { texts } from "./texts-work.js";
import { Dialog, Notice, html, useState } from "./ui.js";

const words = texts.begin;

/** A name that nothing has, as folders are called: "base 1"; `bare`: "base" where that will do. */
export function unused(base, taken, bare = false) {
  const folder = (name) => name.toLowerCase().replaceAll(" ", "-");
  const used = new Set(taken.map(folder));
  for (let count = 1; ; count++) {
    const name = bare && count === 1 ? base : `${base} ${count}`;
    if (!used.has(folder(name))) return name;
  }
}

/** `order()` is the body of POST /jobs; the job is then followed at `page`. {begin, busy, said}: what there is to say of it. */
export function useBegin(page, order) {
  const [error, fail] = useState(null);
  const [there, ask] = useState(null);
  const [busy, work] = useState(false);
  const begin = async (overwrite = false) => {
    ask(null);
    fail(null);
    work(true);
    try {
      const { flags, ...rest } = order();
      const job = await post("/jobs", { ...rest, flags: { ...flags, overwrite } });
      go(page, new URLSearchParams({ job: job.id }));
    } catch (found) {
      work(false);
      if (found.status === 409 && !overwrite) ask(found.message);
      else fail(found.message);
    }
  };
  const said = html`${error && html`<${Notice} kind="problem"><span class="told" id="refused">${error}</span><//>`}
    ${there && html`<${Dialog} title=${words.there} close=${() => ask(null)}><p class="told">${there}</p>
      <div class="row"><button type="button" onClick=${() => begin(true)}>${words.overwrite}</button><button type="button" class="first" onClick=${() => ask(null)}>${words.other}</button></div><//>`}`;
  return { begin, busy, said };
}
