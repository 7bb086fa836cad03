// The chart: bars, what models make of them, and what became of it.
import { candleColours, useStore } from "../core.js";
import { fieldValue, length } from "../format.js";
import { useStock } from "../stock.js";
import { texts } from "../texts.js";
import { Busy, Command, Empty, Notice, Select, Toggle, html, useEffect, useMemo, useRef, useState } from "../ui.js";
import { before } from "../chart/axis.js";
import { command, unlike } from "../chart/command.js";
import { Legend, Models, Notes, Scores, Warnings } from "../chart/models.js";
import { OriginField } from "../chart/origin.js";
import { Panel } from "../chart/panel.js";
import { Stage } from "../chart/stage.js";
import { barBefore, useAddress, useBars, useDefaults, useForecasts, useKnown, useLayer } from "../chart/state.js";
import { Step } from "../chart/step.js";
import { SymbolField } from "../chart/symbols.js";
import { BarTable, StepTable } from "../chart/tables.js";
import { colour, repaint } from "../core.js";

const words = texts.chart;
const INTERVALS = [["5min", 300], ["15min", 900], ["1h", 3600], ["4h", 14400], ["1D", 86400], ["1W", 604800]];

/** Fetched where a model has no calibration. */
function Calibration(props) {
  const [found, set] = useState(null);
  useEffect(() => void import("../chart/calibrate.js").then(set), []);
  return found && html`<${found.Calibrate} ...${props} />`;
}

function Toolbar({ state, update, source, sources, bars, facts, move, tools }) {
  const intervals = INTERVALS.filter(([, seconds]) => seconds > (source?.step_seconds ?? Infinity)).map(([name, seconds]) => [name, length(seconds)]);
  const other = (change) => update({ step: null, view: null, ...change });
  return html`<div class="toolbar" role="group" aria-label=${texts.pages.chart}>
    <label class="field inline"><span>${words.source}</span>
      <${Select} id="source" value=${state.source} onChange=${(id) => other({ source: id, symbol: null, origin: null, interval: null })}
        options=${sources.map((one) => [one.id, one.state === "ready" ? one.name : `${one.name} (${texts.data.states[one.state]})`, one.state !== "ready"])} /></label>
    ${source && state.symbol && html`<${SymbolField} source=${source.id} symbol=${state.symbol} choose=${(symbol) => other({ symbol })} />`}
    <label class="field inline"><span>${words.interval}</span>
      <${Select} id="interval" value=${state.interval ?? ""} onChange=${(interval) => other({ interval: interval || null, origin: null })}
        options=${[["", words.asTheyAre(length(source?.step_seconds))], ...intervals]} /></label>
    ${bars && html`<${OriginField} bars=${bars} origin=${state.origin} facts=${facts} move=${move} />`}
    <span class="gap"></span>${tools}
  </div>`;
}

function Tools({ state, update, picture, truths }) {
  const flip = (name) => update({ [name]: !state[name] }, true);
  return html`<div class="toggles">
    <${Toggle} label=${words.paths} hint="p" on=${state.showPaths} onClick=${() => flip("showPaths")} />
    <${Toggle} label=${words.density} on=${state.density} onClick=${() => flip("density")} />
    <${Toggle} label=${words.truth} hint="t" on=${state.truth} disabled=${!truths} onClick=${() => flip("truth")} />
    <${Toggle} label=${words.log} on=${state.log} onClick=${() => flip("log")} />
    <${Toggle} label=${words.asTable} on=${state.table} onClick=${() => flip("table")} />
    <${Select} aria-label=${words.candles.label} value=${useStore(candleColours)} onChange=${candleColours.set} options=${["ink", "green", "red"].map((one) => [one, words.candles[one]])} />
    <button type="button" onClick=${picture}>${words.picture}</button>
  </div>`;
}

const Save = ({ forecast }) => {
  const to = (format, what) => `/api/v1/forecasts/${forecast.id}/export?format=${format}&what=${what}`;
  return html`<p class="row saves"><span class="soft">${words.save}</span>
    <a href=${to("csv", "bands")} download>${words.saves.bands}</a><a href=${to("csv", "paths")} download>${words.saves.csv}</a><a href=${to("parquet", "paths")} download>${words.saves.parquet}</a></p>`;
};

function Charted({ state, update, source, sources, models, system }) {
  const found = useBars(state, source);
  const { bars } = found;
  const facts = useMemo(() => ({ zone: bars?.zone ?? source.zone, step_seconds: bars?.step_seconds ?? source.step_seconds }), [bars?.zone, bars?.step_seconds, source]);
  const { lines, focus, desk } = useForecasts(state, models, Boolean(bars) && bars.time.length > 0);
  const gone = state.models.filter((id) => !models.some((one) => one.id === id));
  const forecast = focus?.run?.forecast ?? null;
  const paths = useLayer("paths", forecast, { symbol: state.symbol, column: "close", limit: 50 }, state.showPaths);
  const density = useLayer("density", forecast, { symbol: state.symbol, bins: 60 }, state.density);
  const known = useKnown(state, source, focus?.model);
  const colours = `${useStore(repaint)}`;
  const view = useRef(null);
  const [seen, look] = useState(null);
  const [sheet, open] = useState(false);
  const [asks, ask] = useState(null);

  const what = useMemo(() => {
    if (!bars?.time.length) return null;
    const drawn = lines.filter(({ run }) => run?.forecast).map(({ id, name, style, run }) => ({
      id, name, series: run.forecast.series[0], colour: colour(style.name), dash: style.dash, style: id === focus.id ? "full" : "outline",
    }));
    // The one in focus is drawn last, over the others.
    drawn.sort((a, b) => (a.style === "full") - (b.style === "full"));
    return {
      bars, forecasts: drawn, focus: drawn.find((one) => one.id === focus?.id) ?? null, origin: state.origin, truth: state.truth,
      paths: paths?.paths ?? null, density, log: state.log, known,
    };
  }, [bars, lines.map(({ id, run }) => `${id} ${run?.forecast?.id} ${run?.forecast?.state}`).join(), focus?.id, state.origin, state.truth, state.log, paths, density, known, colours]);

  const move = async (time) => {
    if (time === null) return update({ origin: null, step: null });
    const inside = bars && bars.every === 1 && time >= bars.time[0] && time <= bars.time.at(-1);
    const bar = inside ? bars.time[before(bars.time, time)] : await barBefore(state, time).catch(() => null);
    if (bar === null) return;
    update({ origin: bar === bars?.last ? null : bar, step: null });
  };
  const act = {
    origin: move,
    flip: (name) => (name === "calibrated" ? lines.some(({ model }) => model.calibrated) : true) && update({ [name]: !state[name] }, true),
    step: (time) => {
      const step = what?.focus ? what.focus.series.time.indexOf(time) : -1;
      if (step >= 0) update({ step: step + 1 }, true);
    },
    range: (made) => {
      const span = made.span();
      if (!span) return;
      look(span);
      update({ view: span }, true);
      found.range(made);
    },
  };
  // Said once, when all paths are there.
  const done = lines.filter(({ run }) => run?.state === "done").map(({ name, run }) => words.finished(name, run.forecast?.series[0].paths));
  const series = forecast?.series[0];
  const errors = [found.error?.message, ...lines.map(({ name, run }) => run?.state === "failed" && run.error && `${name}: ${run.error.message}`)].filter(Boolean);
  const truths = state.origin !== null;
  const calibrate = system?.jobs && focus?.model.available && !focus.model.calibrated && html`<${Calibration} key=${focus.id} model=${focus.model} models=${models} state=${state} update=${update} ask=${() => import("../chart/fit.js").then(({ Ask }) => ask({ Ask, model: focus.model }))} />`;
  const draw = async () =>
    (await import("../chart/picture.js")).picture(view.current, `${state.symbol} ${fieldValue(bars.time.at(-1), facts)}`, [
      `${state.symbol} · ${source.name}`,
      ...(series ? [`${lines.map(({ name }) => name).join(", ")} · ${words.pathsOf(series.paths, forecast.request.paths)} · ${words.legend.bands}, ${words.legend.median}`] : []),
    ]);
  return html`
    <${Toolbar} state=${state} update=${update} source=${source} sources=${sources} bars=${bars} facts=${facts} move=${move}
      tools=${html`<${Tools} state=${state} update=${update} picture=${draw} truths=${truths} />`} />
    <div class="work">
      <div class="left">
        ${gone.length > 0 && html`<${Notice} kind="problem">${words.modelGone(gone.length)} <button type="button" onClick=${() => update({ models: state.models.filter((id) => !gone.includes(id)) })}>${words.leaveOut}</button><//>`}
        <${Warnings} state=${state} focus=${focus} errors=${errors} />
        ${bars && !bars.time.length && html`<${Empty} title=${words.noBars} />`}
        ${!bars && !found.error && html`<${Busy} text=${words.loading} />`}
        ${bars?.time.length > 0 && html`
          <${Stage} name=${found.key} what=${what} facts=${facts} symbol=${state.symbol} start=${found.start} act=${act} hold=${(made) => (view.current = made)} />
          <${Legend} lines=${lines.filter(({ run }) => run?.forecast)} focus=${forecast && focus} truth=${truths && state.truth ? 1 : 0} raw=${series?.raw80} known=${known} facts=${facts} />`}
        <${Scores} series=${series} shown=${state.truth} />
        <${Models} lines=${lines} focus=${focus} desk=${desk} choose=${(id) => update({ focus: id, step: null }, true)} />
        <p class="out" role="status" id="finished">${done.join(" ")}</p>
        ${forecast && state.step !== null && state.step <= series.time.length &&
        html`<${Step} forecast=${forecast} symbol=${state.symbol} step=${state.step} above=${state.above} facts=${facts} update=${(change) => update(change, true)} />`}
        ${state.table && series && html`<${StepTable} series=${series} facts=${facts} truth=${state.truth} choose=${(step) => update({ step }, true)} />`}
        ${state.table && bars && html`<${BarTable} bars=${bars} from=${seen?.[0] ?? -Infinity} to=${seen?.[1] ?? Infinity} facts=${facts} hiddenAfter=${state.truth ? null : state.origin} />`}
        <${Notes} forecast=${forecast} facts=${facts} />
        ${focus && html`<h2 class="small">${words.command}</h2>
          <${Command} text=${command(source, focus.request, focus.model, state.origin === null ? null : fieldValue(state.origin, facts))} note=${unlike(focus.request)} />`}
        ${forecast?.state === "done" && html`<${Save} forecast=${forecast} />`}
      </div>
      <aside class=${`side ${sheet ? "open" : ""}`} aria-label=${words.settings}>
        <button type="button" class="sheet" aria-expanded=${sheet ? "true" : "false"} onClick=${() => open(!sheet)}>${words.settings}</button>
        <div class="body"><${Panel} state=${{ ...state, models: state.models ?? [] }} models=${models} limits=${system?.limits} update=${(change) => (open(false), update(change))} calibrate=${calibrate} /></div>
      </aside>
      ${asks && html`<${asks.Ask} model=${asks.model} models=${models} source=${source} state=${state} close=${() => ask(null)} />`}
    </div>`;
}

export function View({ system }) {
  const [state, update] = useAddress();
  const serving = useStore(system);
  const { sources, models, error } = useStock();
  const { source, problem } = useDefaults(state, update, sources, models);
  useEffect(() => {
    document.title = `${state.symbol ? `${state.symbol} · ` : ""}${texts.pages.chart} · ${texts.name}`;
  }, [state.symbol]);
  const body = () => {
    if (error && !sources) return html`<${Notice} kind="problem">${error.message}<//>`;
    if (!sources || !models) return html`<${Busy} />`;
    if (!state.source) return html`<${Empty} title=${words.none[0]}><p>${words.none[1]}</p><p><a class="button" href="/data">${words.toData}</a></p><//>`;
    if (!source) return html`<${Notice} kind="problem">${words.gone} <a href="/chart">${texts.pages.chart}</a><//>`;
    if (source.state !== "ready") return html`<${Empty} title=${words.notReady(source.name, texts.data.states[source.state])}><p>${source.message}</p><p><a class="button" href="/data">${words.toData}</a></p><//>`;
    if (problem) return html`<${Notice} kind="problem">${problem}<//>`;
    if (!state.symbol || !state.models) return html`<${Busy} />`;
    return html`<${Charted} state=${state} update=${update} source=${source} sources=${sources} models=${models} system=${serving} />`;
  };
  return html`<div class="charting"><h1 class="out">${texts.pages.chart}</h1>${body()}</div>`;
}
