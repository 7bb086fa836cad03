"""The preflight report as one self-contained page: no network, no library, readable for 1 and 500 symbols."""

from __future__ import annotations

import math
from datetime import date
from html import escape

from chandler.data.datasets.cleaning import REASONS
from chandler.data.inspection import (
    InspectReport,
    SymbolReport,
    counted,
    grouped_notes,
    overview,
    totals,
    trouble,
    whose,
)

_COLOURS = {"train": "#3b6ea8", "val": "#d98e2b", "test": "#4f9d69"}
_NAMES = {"train": "training", "val": "validation", "test": "test"}
_NOTES = 30
_MEANINGS = {
    "gaps": "breaks in time in which the calendar expects bars",
    "missing": "bars that it expects in these breaks",
    "closings": "other breaks: nights, weekends, lunch, holidays",
    "bad bars": "high below, or low above, the open or close; they are kept",
    "repeated": "rows that came twice with one timestamp; the last stayed",
    "stale": "bars in runs of one close that are longer than the paper allows",
    "volume 0": "share of bars without volume",
    "jumps": "bars that open further from the close before than the paper allows",
    "kept if cleaned": "share of rows that the paper's cleaning would keep",
}

_STYLE = """
:root { --ink: #1f2733; --soft: #667085; --line: #e4e7ec; --paper: #ffffff; --wash: #f6f7f9; --bad: #b42318;
  --warn: #b54708; --good: #067647; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #98a2b3; --line: #344054; --paper: #161b22;
  --wash: #1d242e; --bad: #f97066; --warn: #fdb022; --good: #47cd89; } }
* { box-sizing: border-box }
body { margin: 0; background: var(--wash); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", sans-serif }
main { max-width: 1320px; margin: 0 auto; padding: 28px 24px 60px }
h1 { font-size: 24px; margin: 0 } h2 { font-size: 17px; margin: 34px 0 10px }
p.source { color: var(--soft); margin: 2px 0 18px; overflow-wrap: anywhere }
.verdict { border-left: 5px solid var(--good); background: var(--paper); padding: 12px 16px; border-radius: 6px }
.verdict.no { border-color: var(--bad) } .verdict b { color: var(--good) } .verdict.no b { color: var(--bad) }
.verdict ul { margin: 6px 0 0; padding-left: 20px }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 16px 0 }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px }
.card b { display: block; font-size: 21px; font-variant-numeric: tabular-nums; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap } .card span { color: var(--soft) }
.card.none b { color: var(--bad) }
.warn { color: var(--warn) } .soft { color: var(--soft) }
ul.plain { list-style: none; padding: 0; margin: 0 } ul.plain li { padding: 3px 0 }
.box { background: var(--paper); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px }
.split { display: flex; height: 26px; border-radius: 5px; overflow: hidden; background: var(--line) }
.split div { color: #fff; font-size: 12px; line-height: 26px; padding: 0 8px; white-space: nowrap; overflow: hidden }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; margin-top: 8px; color: var(--soft); font-size: 13px }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px }
.scroll { overflow: auto; max-height: 78vh;
  background: var(--paper); border: 1px solid var(--line); border-radius: 8px }
table { border-collapse: collapse; width: 100%; font-size: 12px; font-variant-numeric: tabular-nums }
th, td { padding: 5px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) }
th { position: sticky; top: 0; background: var(--paper); cursor: pointer; color: var(--soft); font-weight: 600;
  white-space: normal; vertical-align: bottom; line-height: 1.25 } th[title] { text-decoration: underline dotted }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--paper) }
th:hover { color: var(--ink) } td.hot { color: var(--warn); font-weight: 600 }
td.none { color: var(--bad); font-weight: 600 }
td.zero { color: var(--soft); opacity: .55 }
td svg { display: block }
input { font: inherit; padding: 6px 10px; border: 1px solid var(--line); border-radius: 6px; background: var(--paper);
  color: var(--ink); margin-bottom: 10px; width: 260px }
polyline { fill: none; stroke: #3b6ea8; stroke-width: 1.3; vector-effect: non-scaling-stroke }
footer { color: var(--soft); margin-top: 36px; font-size: 13px }
"""

_SCRIPT = """
const body = document.querySelector('#symbols tbody'), heads = document.querySelectorAll('#symbols th');
heads.forEach((head, at) => head.addEventListener('click', () => {
  const down = head.dataset.down !== '1'; heads.forEach(h => delete h.dataset.down);
  head.dataset.down = down ? '1' : '0';
  const key = row => row.children[at].dataset.v ?? row.children[at].textContent;
  const number = value => value !== '' && !isNaN(value);
  [...body.rows].sort((a, b) => { const x = key(a), y = key(b);
    const order = number(x) && number(y) ? x - y : String(x).localeCompare(String(y)); return down ? -order : order;
  }).forEach(row => body.append(row)); }));
const find = document.querySelector('#find');
if (find) find.addEventListener('input', () => { for (const row of body.rows)
  row.hidden = !row.cells[0].textContent.toLowerCase().includes(find.value.toLowerCase()); });
"""


def report_html(report: InspectReport, title: str = "") -> str:
    """The page. Symbols with most to look at come first; a click on a column sorts by it."""
    parts = [
        "<h1>Bars before training</h1>",
        f'<p class="source">{escape(title)}</p>' if title else "",
        _verdict(report),
        _cards(report),
        _section("Windows and splits", _splits(report)),
        _section("Folds of the walk forward", _folds(report)),
        _section("Price", _chart(report.symbols[0])) if len(report.symbols) == 1 else "",
        _section("What was found", _facts(report)),
        _section(
            "What cleaning removes" if report.cleaned else "What the paper's cleaning would remove", _cleaning(report)
        ),
        _section("Symbols", _table(report)),
        _section("What was decided when reading", _notes(report)),
        "<footer>chandler inspect. Gaps are breaks in which the calendar expects bars; nights, weekends and holidays "
        "are none. Stale bars and jumps are counted by the limits of the Kronos paper for the interval.</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Bars before training</title><style>{_STYLE}</style></head><body><main>"
        + "\n".join(part for part in parts if part)
        + f"</main><script>{_SCRIPT}</script></body></html>\n"
    )


def _section(title: str, inner: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{inner}" if inner else ""


def _verdict(report: InspectReport) -> str:
    state, text = ("", "Training would begin.") if report.ok else (" no", "Training would fail.")
    items = "".join(f"<li>{escape(one)}</li>" for one in report.problems)
    items += "".join(f'<li class="warn">{escape(one)}</li>' for one in report.warnings)
    return f'<div class="verdict{state}"><b>{text}</b>' + (f"<ul>{items}</ul>" if items else "") + "</div>"


def _cards(report: InspectReport) -> str:
    first = min(one.first for one in report.symbols)[:10]
    last = max(one.last for one in report.symbols)[:10]
    intervals = {one.interval for one in report.symbols if one.interval}
    cards = [
        (
            f"{len(report.symbols):,}",
            "symbols" if len(report.symbols) > 1 else f"symbol: {report.symbols[0].symbol}",
            "",
        ),
        (f"{report.rows:,}", "rows", ""),
        (", ".join(sorted(intervals)[:2]) + (" ..." if len(intervals) > 2 else ""), "interval", ""),
        (first, f"to {last}", ""),
    ]
    cards += [
        (f"{count:,}", f"{_NAMES.get(name, name)} windows", "" if count else " none")
        for name, count in report.windows.items()
    ]
    return '<div class="cards">' + "".join(
        f'<div class="card{state}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label, state in cards
    ) + "</div>"  # fmt: skip


def _splits(report: InspectReport) -> str:
    length = report.lookback + report.horizon + 1
    text = (
        f'<p class="soft" style="margin-top:0">A window is {length} rows: {report.lookback} lookback + '
        f"{report.horizon} horizon + 1. Windows stay inside {report.segments:,} unbroken "
        f"stretch{'es' if report.segments != 1 else ''} of rows, {counted(report)}.</p>"
    )
    spans = {name: tuple(map(date.fromisoformat, span)) for name, span in report.split_spans.items()}
    if not spans:
        return f'<div class="box">{text}</div>'
    begin, end = min(span[0] for span in spans.values()), max(span[1] for span in spans.values())
    whole = max((end - begin).days, 1)
    bar, at = "", begin
    for name, (first, last) in spans.items():
        if first > at:
            bar += f'<div style="width:{(first - at).days / whole:.3%};padding:0"></div>'
        width = max((last - max(first, at)).days, 0) / whole
        bar += f'<div style="width:{width:.3%};background:{_COLOURS[name]}">{_NAMES[name]}</div>'
        at = max(at, last)
    legend = "".join(
        f'<span><i style="background:{_COLOURS[name]}"></i>{_NAMES[name]}: {first} to {last}, '
        f"{report.split_rows[name]:,} rows, {report.windows[name]:,} windows</span>"
        for name, (first, last) in spans.items()
    )
    return f'<div class="box">{text}<div class="split">{bar}</div><div class="legend">{legend}</div></div>'


def _folds(report: InspectReport) -> str:
    if not report.folds:
        return ""
    parts = list(report.folds[0].windows)
    heads = "<th>fold</th>" + "".join(f"<th>{_NAMES[name]}</th><th>windows</th>" for name in parts)
    body = ""
    for fold in report.folds:
        name = f"<b>{fold.number}, this report</b>" if fold.number == report.fold else str(fold.number)
        cells = f"<td>{name}</td>"
        for part in parts:
            count = fold.windows[part]
            span = " to ".join(fold.spans.get(part, ("no rows",)))
            cells += f"<td>{span}</td><td{'' if count else ' class=none'}>{count:,}</td>"
        body += f"<tr>{cells}</tr>"
    return f'<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def _facts(report: InspectReport) -> str:
    rows = [*overview(report), *totals(report)]
    return '<div class="box"><ul class="plain">' + "".join(
        f"<li><b>{escape(what)}</b>: {escape(text)}</li>" for what, text in rows
    ) + "</ul></div>"  # fmt: skip


def _cleaning(report: InspectReport) -> str:
    kept, rows, removed = (report.cleaning[key] for key in ("kept", "rows", "removed"))
    left = ", ".join(f"{count:,} in {name}" for name, count in report.cleaning["windows"].items())
    switch = "" if report.cleaned else " Switch it on with data.cleaning.enabled=true."
    items = (
        f"<li>It {'keeps' if report.cleaned else 'would keep'} <b>{kept:,}</b> of {rows:,} rows; windows then: {left}."
        f"{switch}</li>"
    )
    for reason, found in removed.items():
        what = f"{found['rows']:,} rows" if found["rows"] else f"{found['times']:,} times"
        items += f"<li>{escape(REASONS[reason])}: <b>{what}</b>, symbols: {found['symbols']:,}</li>"
    return f'<div class="box"><ul class="plain">{items}</ul></div>'


def _notes(report: InspectReport) -> str:
    ordered = grouped_notes(report)
    items = ""
    for note, symbols in ordered[:_NOTES]:
        about = whose(symbols, report)
        items += f"<li>{escape(note)}" + (f' <span class="soft">({escape(about)})</span>' if about else "") + "</li>"
    if len(ordered) > _NOTES:
        items += f"<li>... and {len(ordered) - _NOTES:,} more kinds of notes.</li>"
    return f'<div class="box"><ul class="plain">{items}</ul></div>' if items else ""


def _table(report: InspectReport) -> str:
    parts = list(report.windows)
    varied = [  # said once above where it is the same for all
        (head, value)
        for head, value in (
            ("interval", "interval"),
            ("trades", "sessions"),
            ("calendar", "calendar"),
            ("zone", "zone"),
        )
        if len({getattr(one, value) for one in report.symbols}) > 1
    ]
    heads = ["symbol", "close", "rows", "first", "last", *(f"{name} windows" for name in parts), "gaps", "missing",
             "longest gap", "closings", "bad bars", "repeated", "stale", "volume 0", "jumps", "kept if cleaned",
             *(head for head, _ in varied)]  # fmt: skip
    extra = [value for _, value in varied]
    body = "".join(f"<tr>{_cells(one, parts, extra)}</tr>" for one in sorted(report.symbols, key=trouble))
    find = '<input id="find" placeholder="Find a symbol" aria-label="Find a symbol">'
    order = '<p class="soft" style="margin-top:0">Those with most to look at first; a click on a heading sorts.</p>'
    return (
        f"{order if len(report.symbols) > 1 else ''}{find if len(report.symbols) > 12 else ''}"
        '<div class="scroll"><table id="symbols"><thead><tr>'
        + "".join(f"<th{_meaning(head)}>{escape(head)}</th>" for head in heads)
        + f"</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _meaning(head: str) -> str:
    return f' title="{escape(_MEANINGS[head])}"' if head in _MEANINGS else ""


def _cells(one: SymbolReport, parts: list[str], extra: list[str]) -> str:
    share = one.kept / one.rows
    cells = [
        f"<td><b>{escape(one.symbol)}</b></td>",
        f"<td>{_spark(one.trace)}</td>",
        _count(one.rows),
        f"<td>{escape(one.first[:10])}</td><td>{escape(one.last[:10])}</td>",
        *(f'<td data-v="{one.windows[name]}"{"" if one.windows[name] else " class=none"}>{one.windows[name]:,}</td>'
          for name in parts),
        *(_count(value, hot=True) for value in (one.gaps, one.missing)),
        f'<td title="after {escape(one.largest_gap_after)}">{escape(one.largest_gap)}</td>',
        _count(one.closings),
        *(_count(value, hot=True) for value in (one.bad_bars, one.duplicates, one.stale)),
        f'<td data-v="{one.zero_volume}"{"" if one.zero_volume else " class=zero"}>{one.zero_volume:.0%}</td>',
        f'<td data-v="{one.jumps}" class="{"hot" if one.jumps else "zero"}" title="largest {one.largest_jump:.1%} at '
        f'{escape(one.largest_jump_at)}">{one.jumps:,}</td>',
        f'<td data-v="{share}">{share:.0%}</td>',
        *(f"<td>{escape(getattr(one, name))}</td>" for name in extra),
    ]  # fmt: skip
    return "".join(cells)


def _count(value: int, hot: bool = False) -> str:
    state = "zero" if not value else "hot" if hot else ""
    return f'<td data-v="{value}"' + (f' class="{state}"' if state else "") + f">{value:,}</td>"


def _points(trace: tuple[float, ...], width: float, height: float) -> str:
    logs = [math.log(value) for value in trace]  # equal steps are equal percentages
    low, spread = min(logs), max(logs) - min(logs) or 1.0
    step = width / max(len(logs) - 1, 1)
    return " ".join(
        f"{at * step:.1f},{height - 2 - (value - low) / spread * (height - 4):.1f}" for at, value in enumerate(logs)
    )


def _spark(trace: tuple[float, ...]) -> str:
    trace = trace[:: max(1, len(trace) // 84)]
    return f'<svg width="84" height="24" viewBox="0 0 84 24"><polyline points="{_points(trace, 84, 24)}"/></svg>'


def _chart(one: SymbolReport) -> str:
    low, high = min(one.trace), max(one.trace)
    return (
        '<div class="box"><svg width="100%" height="220" viewBox="0 0 1000 220" preserveAspectRatio="none">'
        f'<polyline points="{_points(one.trace, 1000, 220)}"/></svg>'
        f'<div class="legend"><span>close, logarithmic, {len(one.trace)} of {one.rows:,} rows</span>'
        f"<span>lowest shown {low:,.6g}</span><span>highest shown {high:,.6g}</span>"
        f"<span>{escape(one.first[:16])} to {escape(one.last[:16])}</span></div></div>"
    )
