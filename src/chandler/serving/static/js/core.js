// What every page stands on: values that can be watched, the address, and what the reader chose to keep.
import { useEffect, useState } from "../vendor/preact-htm-3.1.1/standalone.module.js";

/** A value with watchers. */
export function store(value) {
  const watchers = new Set();
  return {
    get: () => value,
    set(next) {
      value = typeof next === "function" ? next(value) : next;
      for (const each of [...watchers]) each(value);
    },
    watch(each) {
      watchers.add(each);
      return () => watchers.delete(each);
    },
  };
}

/** The value of a store in a component. */
export function useStore(of) {
  const [value, set] = useState(of.get());
  useEffect(() => {
    set(of.get());
    return of.watch((next) => set(() => next));
  }, [of]);
  return value;
}

// ---- the address ----

const read = () => ({ path: location.pathname, query: new URLSearchParams(location.search) });
export const route = store(read());
addEventListener("popstate", () => route.set(read()));

/** Go to an address; `replace` changes the entry of the history that is there. */
export function go(path, query = new URLSearchParams(), replace = false) {
  const text = query.toString();
  const to = text ? `${path}?${text}` : path;
  if (to === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  route.set(read());
}

/** Links of the page go through the history; those with a modifier, a target or a file are the browser's. */
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[href^='/']") : null;
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  if (link.target || link.hasAttribute("download") || link.pathname.startsWith("/api/")) return;
  event.preventDefault();
  go(link.pathname, new URLSearchParams(link.search));
});

// ---- what is kept in this browser ----

const KEPT = { scheme: "system", candles: "ink", panel: "open" };

function kept(name) {
  let value = null;
  try {
    value = localStorage.getItem(`chandler.${name}`);
  } catch {
    // a browser that keeps nothing: the page works, and forgets
  }
  const one = store(value ?? KEPT[name]);
  one.watch((next) => {
    try {
      localStorage.setItem(`chandler.${name}`, next);
    } catch {
      // as above
    }
  });
  return one;
}

export const scheme = kept("scheme");
export const candleColours = kept("candles");
export const panel = kept("panel");

// ---- light and dark ----

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Counts up whenever the colours on the page are others: charts draw anew. */
export const repaint = store(0);

/** The palette has its dark colours under one condition: the reader's choice replaces it. */
function paint() {
  const chosen = scheme.get();
  const condition = { light: "not all", dark: "all" }[chosen] ?? "(prefers-color-scheme: dark)";
  for (const sheet of document.styleSheets) {
    if (!sheet.href?.endsWith("/palette.css")) continue;
    for (const rule of sheet.cssRules) if (rule instanceof CSSMediaRule) rule.media.mediaText = condition;
  }
  document.documentElement.style.colorScheme = { light: "light", dark: "dark" }[chosen] ?? "light dark";
  document.documentElement.dataset.scheme = isDark() ? "dark" : "light";
  repaint.set((count) => count + 1);
}

export function isDark() {
  return scheme.get() === "system" ? dark.matches : scheme.get() === "dark";
}

/** A colour of the palette as it is now. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

scheme.watch(paint);
dark.addEventListener("change", paint);
paint();

/** Called when things were quiet for so long. */
export function debounced(each, milliseconds) {
  let timer = 0;
  const late = (...facts) => {
    clearTimeout(timer);
    timer = setTimeout(() => each(...facts), milliseconds);
  };
  late.cancel = () => clearTimeout(timer);
  return late;
}
