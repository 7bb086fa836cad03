// Which symbol: type a part of its name.
import { get } from "../api.js";
import { texts } from "../texts.js";
import { html, integer, useEffect, useRef, useState } from "../ui.js";

const words = texts.chart;
const SHOWN = 50;

export function SymbolField({ source, symbol, choose }) {
  const [text, type] = useState(symbol ?? "");
  const [found, set] = useState(null);
  const [open, show] = useState(false);
  const [active, point] = useState(0);
  const list = useRef(null);
  useEffect(() => type(symbol ?? ""), [symbol, source]);
  useEffect(() => {
    if (!open) return;
    const stop = new AbortController();
    const q = text === symbol ? "" : text;
    const timer = setTimeout(async () => {
      try {
        set(await get(`/sources/${source}/symbols`, { q, limit: SHOWN }, { signal: stop.signal }));
        point(0);
      } catch {
        // the list stays as it was; the page says when the server is away
      }
    }, 120);
    return () => (clearTimeout(timer), stop.abort());
  }, [text, open, source]);
  useEffect(() => list.current?.children[active]?.scrollIntoView({ block: "nearest" }), [active]);

  const rows = found?.symbols ?? [];
  const take = (one) => {
    show(false);
    type(one);
    if (one !== symbol) choose(one);
  };
  const key = (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) show(true);
      else point(Math.max(0, Math.min(rows.length - 1, active + (event.key === "ArrowDown" ? 1 : -1))));
    } else if (event.key === "Enter" && open && rows[active]) {
      event.preventDefault();
      take(rows[active].symbol);
      event.currentTarget.blur();
    } else if (event.key === "Escape") {
      type(symbol ?? "");
      show(false);
      event.currentTarget.blur();
    }
  };
  return html`<div class="field inline combo">
    <label for="symbol">${words.symbol}</label>
    <input id="symbol" role="combobox" autocomplete="off" spellcheck=${false} aria-expanded=${open ? "true" : "false"} aria-controls="symbols"
      aria-autocomplete="list" aria-activedescendant=${open && rows[active] ? `symbol-${active}` : undefined} value=${text} aria-keyshortcuts="/"
      onFocus=${(event) => (event.currentTarget.select(), show(true))} onBlur=${() => (show(false), type(symbol ?? ""))}
      onInput=${(event) => (type(event.currentTarget.value), show(true))} onKeyDown=${key} />
    <ul id="symbols" role="listbox" aria-label=${words.symbol} ref=${list} hidden=${!open || !found}>
      ${rows.map(
        (one, at) => html`<li key=${one.symbol} id="symbol-${at}" role="option" aria-selected=${at === active ? "true" : "false"}
          onPointerDown=${(event) => (event.preventDefault(), take(one.symbol))}>${one.symbol}<small>${integer(one.rows)}</small></li>`,
      )}
      ${found && rows.length === 0 && html`<li role="option" aria-disabled="true" aria-selected="false">${words.noSymbol}</li>`}
      ${found?.next && html`<li role="option" aria-disabled="true" aria-selected="false"><small>${words.symbolsOf(rows.length, integer(found.total))}</small></li>`}
    </ul>
  </div>`;
}
