// Small parts that all pages are made of, and the way numbers are written.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm-3.1.1/standalone.module.js";
import { texts } from "./texts.js";

export * from "../vendor/preact-htm-3.1.1/standalone.module.js";

const MINUS = "\u2212";

/** At most five digits that matter: 4.8812, 0.053817, 1,234.5, 1.2346e9. */
export function number(value, digits = 5) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text =
    size && (size >= 1e9 || size < 1e-5)
      ? value.toExponential(digits - 1)
      : value.toLocaleString("en", { maximumSignificantDigits: Math.max(digits, size >= 1 ? Math.ceil(Math.log10(size + 1)) : 0) });
  return text.replace("-", MINUS);
}

export const signed = (value, digits = 3) => (value > 0 ? "+" : "") + number(value, digits);
export const percent = (share, digits = 0) =>
  share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)}%`.replace("-", MINUS);
export const signedPercent = (share, digits = 2) => (share > 0 ? "+" : "") + percent(share, digits);
export const integer = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  const at = value < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${number(value / 1000 ** at, 3)} ${units[at]}`;
}

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  return value < 60 ? `${number(value, 2)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

/** A number in a cell: short to read, whole on hover. */
export const Num = ({ value, digits, form = number }) => html`<span title=${value ?? ""}>${form(value, digits)}</span>`;

/** What went wrong or wants to be known; problems are read out at once. */
export function Notice({ kind = "note", children, close }) {
  return html`<div class="notice ${kind}" role=${kind === "problem" ? "alert" : "note"}>
    <div>${children}</div>
    ${close && html`<button type="button" class="plain" aria-label=${texts.close} onClick=${close}>×</button>`}
  </div>`;
}

export function Copy({ text, label = texts.copy }) {
  const [done, set] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // no clipboard without a safe context: the old way
      const field = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    set(true);
    setTimeout(() => set(false), 1500);
  };
  return html`<button type="button" onClick=${copy}>${done ? texts.copied : label}<span class="out" role="status">${done ? texts.copied : ""}</span></button>`;
}

export const Command = ({ text, note }) =>
  html`<div class="command"><code tabindex="0">${text}</code><${Copy} text=${text} />${note && html`<small>${note}</small>`}</div>`;

export const Progress = ({ done, total, label }) =>
  html`<progress aria-label=${label} max="1" ...${total ? { value: Math.min(1, done / total) } : {}}></progress>`;

/** Facts as [name, value]; those without a value are left out. */
export const Facts = ({ rows }) =>
  html`<dl class="facts">${rows.filter(([, value]) => value).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`;

/** What may be wider or longer than its place: scrolled by hand and by keys. */
export const Scroll = ({ label, tall = false, children }) => html`<div class=${tall ? "scroll tall" : "scroll"} tabindex="0" role="region" aria-label=${label}>${children}</div>`;

/** Have the browser keep a file. */
export function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** A labelled field; `why` says why it is locked. */
export function Field({ label, why, help, children }) {
  return html`<label class="field" title=${why ?? help ?? ""}>
    <span>${label}${why && html` <small>${why}</small>`}</span>${children}
  </label>`;
}

export const Select = ({ value, options, onChange, ...rest }) =>
  html`<select ...${rest} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
    ${options.map(([one, name, off]) => html`<option key=${one} value=${one} selected=${one === value} disabled=${off}>${name}</option>`)}
  </select>`;

export const Toggle = ({ on, label, onClick, disabled, title, hint }) =>
  html`<button type="button" class="toggle" aria-pressed=${on ? "true" : "false"} aria-keyshortcuts=${hint} disabled=${disabled} title=${title ?? ""} onClick=${onClick}>${label}</button>`;

/** A dialog of the browser's own: it keeps the focus, and Esc closes it. */
export function Dialog({ title, close, children }) {
  const box = useRef(null);
  useEffect(() => {
    box.current.showModal();
  }, []);
  return html`<dialog ref=${box} aria-label=${title} onClose=${close} onClick=${(event) => event.target === box.current && box.current.close()}>
    <div class="inside">
      <header><h2>${title}</h2><button type="button" class="plain" aria-label=${texts.close} onClick=${() => box.current.close()}>×</button></header>
      ${children}
    </div>
  </dialog>`;
}

export const Empty = ({ title, children }) => html`<div class="empty"><p><b>${title}</b></p>${children}</div>`;

export const Busy = ({ text = texts.loading }) => html`<p class="busy" role="status">${text}</p>`;

/** What a call answers; `again` asks anew. The last answer stays until the next one is there. */
export function useAnswer(ask, facts) {
  const [state, set] = useState({ value: null, error: null, loading: true });
  const count = useRef(0);
  const again = () => {
    const mine = ++count.current;
    set((old) => ({ ...old, loading: true }));
    Promise.resolve(ask()).then(
      (value) => mine === count.current && set({ value, error: null, loading: false }),
      (error) => mine === count.current && error.name !== "AbortError" && set((old) => ({ ...old, error, loading: false })),
    );
  };
  useEffect(() => {
    again();
    return () => void count.current++;
  }, facts);
  return { ...state, again };
}
