// The frame around the pages: where one is, what runs, and what to do while the server is away.
import { ApiError, get, server, signedIn, signIn, tryNow } from "./api.js";
import { go, route, scheme, store, useStore } from "./core.js";
import { listen, on } from "./events.js";
import { texts } from "./texts.js";
import { Busy, Dialog, Empty, Field, Notice, Select, html, render, useEffect, useErrorBoundary, useState } from "./ui.js";

/** Pages that exist, in the order of the navigation; each is fetched when it is first asked for. */
const PAGES = {
  "/chart": { name: "chart", key: "c", load: () => import("./pages/chart.js") },
  "/data": { name: "data", key: "d", load: () => import("./pages/data.js") },
  "/finetune": { name: "finetune", key: "f", load: () => import("./pages/finetune.js") },
  "/runs": { name: "runs", key: "r", load: () => import("./pages/runs.js") },
  "/judge": { name: "judge", key: "j", load: () => import("./pages/judge.js") },
  "/batch": { name: "batch", key: "b", load: () => import("./pages/batch.js") },
  "/journal": { name: "journal", key: "l", load: () => import("./pages/journal.js") },
  "/about": { name: "about", key: "a", load: () => import("./pages/about.js") },
};

/** What the server says of itself; refreshed by its events. */
export const system = store(null);
const helpOpen = store(false);

async function refresh() {
  try {
    system.set(await get("/system"));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

function Navigation() {
  const { path } = useStore(route);
  return html`<nav aria-label="Pages">
    ${Object.entries(PAGES).map(
      ([to, { name, key }]) =>
        html`<a key=${to} href=${to} aria-current=${path === to ? "page" : undefined} aria-keyshortcuts="g ${key}">${texts.pages[name]}</a>`,
    )}
  </nav>`;
}

/** The tray comes after the frame: it is there when there is something to say. */
function Tray() {
  const [found, set] = useState(null);
  useEffect(() => void import("./tray.js").then(set), []);
  return found && html`<${found.Tray} system=${system} />`;
}

function Header() {
  return html`<header class="bar">
    <a class="brand" href="/chart"><img src=${new URL("../favicon.svg", import.meta.url).href} alt="" width="22" height="22" />${texts.name}</a>
    <${Navigation} />
    <div class="tools">
      ${useStore(signedIn) && html`<${Tray} />`}
      <${Select} aria-label=${texts.scheme.label} value=${useStore(scheme)} onChange=${scheme.set}
        options=${["system", "light", "dark"].map((one) => [one, texts.scheme[one]])} />
      <button type="button" class="plain" aria-label=${texts.keys.open} title=${texts.keys.open} onClick=${() => helpOpen.set(true)}>?</button>
    </div>
  </header>`;
}

function Offline() {
  const { here, next } = useStore(server);
  return html`<div role="status">${!here && html`<div class="offline">${texts.offline(next)} <button type="button" onClick=${tryNow}>${texts.tryNow}</button></div>`}</div>`;
}

function SignIn() {
  const [error, set] = useState(null);
  const submit = (event) => {
    event.preventDefault();
    signIn(new FormData(event.currentTarget).get("token").trim()).catch((found) => set(found.status === 401 ? texts.signIn.wrong : found.message));
  };
  return html`<main id="page" class="narrow"><h1>${texts.signIn.title}</h1><p>${texts.signIn.says}</p>
    <form class="stack" onSubmit=${submit}>
      <${Field} label=${texts.signIn.token}><input name="token" type="password" autocomplete="off" required autofocus /><//>
      <button class="first">${texts.signIn.go}</button>
    </form>
    ${error && html`<${Notice} kind="problem">${error}<//>`}
  </main>`;
}

function Help() {
  if (!useStore(helpOpen)) return null;
  const list = (rows) => html`<dl class="keys">${rows.map(([keys, what]) => [html`<dt><kbd>${keys}</kbd></dt>`, html`<dd>${what}</dd>`])}</dl>`;
  return html`<${Dialog} title=${texts.keys.title} close=${() => helpOpen.set(false)}>
    <h3>${texts.keys.everywhere}</h3>${list(texts.keys.global)}
    <h3>${texts.keys.chart}</h3>${list(texts.keys.onChart)}
  <//>`;
}

function Page() {
  const { path } = useStore(route);
  const [failure, forget] = useErrorBoundary();
  const [found, set] = useState({ path: null, View: null });
  const page = PAGES[path];
  useEffect(() => {
    forget();
    document.title = page ? `${texts.pages[page.name]} · ${texts.name}` : texts.name;
    let stale = false;
    page?.load().then(({ View }) => stale || set({ path, View }), (error) => stale || set({ path, error }));
    return () => void (stale = true);
  }, [path]);
  const problem = failure ?? (found.path === path && found.error);
  if (!page) return html`<${Empty} title=${texts.nowhere[0]}><p><a href="/chart">${texts.nowhere[1]}</a></p><//>`;
  if (problem) return html`<${Notice} kind="problem"><p>${texts.errors.page}</p><code>${String(problem)}</code><//>`;
  if (found.path !== path) return html`<${Busy} />`;
  return html`<${found.View} key=${path} system=${system} />`;
}

function App() {
  const inside = useStore(signedIn);
  const outside = inside === false;
  useEffect(() => void (outside || refresh()), [outside]);
  return html`<a class="skip" href="#page">${texts.skip}</a>
    <${Header} /><${Offline} />
    ${outside ? html`<${SignIn} />` : html`<main id="page" tabindex="-1"><${Page} /></main>`}
    <${Help} />`;
}

// ---- keys that work on every page ----

const typing = (element) => element?.closest?.("input, select, textarea, dialog, [contenteditable]");
let awaited = 0;

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (event.key === "?") helpOpen.set(true);
  else if (event.key === "/") {
    event.preventDefault();
    const field = document.querySelector("#symbol");
    if (field) field.focus();
    else go("/chart");
  } else if (event.key === "g") awaited = Date.now();
  else if (Date.now() - awaited < 1500) {
    awaited = 0;
    const to = Object.keys(PAGES).find((one) => PAGES[one].key === event.key);
    if (to) go(to);
  }
});

if (location.pathname === "/") go("/chart", new URLSearchParams(location.search), true);
on({ system: refresh, resync: refresh });
listen();
render(html`<${App} />`, document.getElementById("app"));
