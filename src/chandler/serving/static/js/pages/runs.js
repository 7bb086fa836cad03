// Runs: what was trained below the server's folder of runs, here or in a shell.
import { all } from "../api.js";
import { go, route, useStore } from "../core.js";
import { texts } from "../texts-work.js";
import { Busy, Empty, Notice, html, useAnswer, useEffect } from "../ui.js";
import { Compare } from "../runs/compare.js";
import { useNews } from "../runs/follow.js";
import { List, MOST } from "../runs/list.js";
import { One } from "../runs/one.js";

const words = texts.runs;

function All() {
  const { value: runs, error, again } = useAnswer(() => all("/runs", "runs"), []);
  // Sizes are counted beside the first answer.
  const moves = runs?.some((one) => one.bytes === null || one.state === "running");
  useNews(again, moves);
  useEffect(() => void (document.title = `${texts.pages.runs} · ${texts.name}`), []);
  return html`<h1>${words.title}</h1><p class="soft">${words.lead}</p>
    ${error && html`<${Notice} kind="problem">${error.message}<//>`}
    ${!runs && !error && html`<${Busy} />`}
    ${runs?.length === 0 && html`<${Empty} title=${words.none[0]}><p>${words.none[1]}</p><p><a class="button first" href="/finetune">${texts.pages.finetune}</a></p><//>`}
    ${runs?.length > 0 && html`<${List} runs=${runs} hold=${(ids) => go("/runs", new URLSearchParams({ compare: ids.join(",") }))} />`}`;
}

export function View() {
  const { query } = useStore(route);
  const id = query.get("id");
  const compared = [...new Set((query.get("compare") ?? "").split(",").filter(Boolean))].slice(0, MOST);
  return html`<div class="page wide">${id ? html`<${One} key=${id} id=${id} />` : compared.length > 1 ? html`<${Compare} key=${compared.join()} ids=${compared} />` : html`<${All} />`}</div>`;
}
