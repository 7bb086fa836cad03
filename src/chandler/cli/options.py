"""Options that several commands share, and what turns them into settings."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer
from typer import Argument, Option

from chandler.cli.remedies import as_typed
from chandler.engines import Engine, Local, RayEngine, require_ray
from chandler.errors import ConfigError
from chandler.places import require_apart

if TYPE_CHECKING:
    from chandler.data import BarStore

Data = Annotated[
    list[str],
    Argument(
        metavar="DATA...",
        help="Files (CSV, Parquet, JSON, zip ...), folders or globs of bars, a prepared store, qlib:FOLDER, "
        "chandler-stocks (bundled).",
        show_default=False,
    ),
]


def _renamed(old: bool) -> bool:
    if old:
        typer.echo(
            "chandler: --force is called --accept-changed-settings now; the old name goes with the next release.",
            err=True,
        )
    return old


@dataclass(frozen=True)
class RunOptions:
    """Where a training run is written and how it begins: the same options for finetune and pretrain."""

    overrides: Annotated[
        list[str] | None, Option("--set", help="Override any key: --set data.path=bars.csv. Repeatable.")
    ] = None
    out: Annotated[str | None, Option("--out", help="The run folder, instead of the YAML's.")] = None
    save_as: Annotated[
        Path | None,
        Option(help="Also write the settings, overrides included, to this YAML.", show_default=False),
    ] = None
    overwrite: Annotated[
        bool,
        Option("--overwrite", help="Replace an earlier run in that folder, and an earlier file of --save-as."),
    ] = False
    resume: Annotated[
        bool, Option("--resume", help="Go on where the run in that folder stopped; start if there is none.")
    ] = False
    accept_changed_settings: Annotated[
        bool,
        Option(
            "--accept-changed-settings", help="Resume with changed settings, as far as a run under way can take them."
        ),
    ] = False
    force: Annotated[bool, Option("--force", hidden=True, callback=_renamed)] = False


@dataclass(frozen=True)
class SourceOptions:
    """Which bars of DATA, and how they are read: the same options for every command that reads bars."""

    symbols: Annotated[str | None, Option(help="Only these symbols, comma-separated.")] = None
    start: Annotated[str | None, Option(help="Only rows from this date or time on.")] = None
    end: Annotated[str | None, Option(help="Only rows up to this date or time, inclusive.")] = None
    market: Annotated[
        str | None, Option(help="Of a Qlib folder: the instrument list, such as csi300; default: all.")
    ] = None
    freq: Annotated[str | None, Option(help="Of a Qlib folder: the bars, such as 1min; default: day.")] = None
    column: Annotated[
        list[str] | None,
        Option(
            "--column",
            help="Name a column yourself: close=ClosePrice; symbol= means that no column is the symbol. Repeatable.",
        ),
    ] = None
    where: Annotated[
        list[str] | None,
        Option("--where", help="Only rows whose cell in a column is this text: SctySrs=EQ. Repeatable."),
    ] = None
    timezone: Annotated[
        str | None,
        Option(help="Zone of timestamps that carry none, such as America/New_York; others are converted to it."),
    ] = None
    date_format: Annotated[str | None, Option(help="strptime format of ambiguous dates, such as %d/%m/%Y.")] = None
    adjust: Annotated[
        Literal["auto", "none"],
        Option(help="auto: scale prices by an adjusted close if there is one; none: leave them."),
    ] = "auto"
    missing: Annotated[
        Literal["error", "drop", "split"],
        Option(help="Rows without prices: error (stop and say where), drop, or split (no window crosses them)."),
    ] = "error"
    decimal: Annotated[
        Literal["auto", ".", ","], Option("--decimal", help="Decimal sign of numbers that read both ways.")
    ] = "auto"
    price_scale: Annotated[
        float | None,
        Option(help="What prices are divided by, such as 10000 where 4721500 is 472.15; 1: right as they are."),
    ] = None
    sort: Annotated[bool, Option("--sort", help="Sort rows whose time steps back, instead of stopping.")] = False
    join: Annotated[bool, Option("--join", help="Files of one symbol follow one another: put them together.")] = False
    skip_bad: Annotated[bool, Option("--skip-bad", help="Leave out files that cannot be used, and say which.")] = False

    def given(self) -> dict[str, Any]:
        """What was asked for, as `SourceSettings`, `load_bars` and `prepare` call it; nothing left at its default."""
        asked = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) != one.default}
        asked.pop("skip_bad", None)
        if "symbols" in asked:
            asked["symbols"] = asked["symbols"].split(",")
        if asked.pop("sort", False):
            asked["unsorted"] = "sort"
        if columns := asked.pop("column", None):
            asked["columns"] = dict(_pair(one, "--column", "close=ClosePrice") for one in columns)
        if "where" in asked:
            asked["where"] = dict(_pair(one, "--where", "SctySrs=EQ") for one in asked["where"])
        return asked


@dataclass(frozen=True)
class EngineOptions:
    """Where the work is done: the same options for every command that spreads it."""

    engine: Annotated[
        Literal["local", "ray"], Option(help="local: this process; ray: many, here or on the machines of a cluster.")
    ] = "local"
    address: Annotated[
        str | None,
        Option(
            help="Of a Ray cluster: HOST:PORT, or auto on one of its nodes; default: RAY_ADDRESS, else this machine."
        ),
    ] = None
    workers: Annotated[
        int | None, Option(min=1, help="Worker processes of Ray at most; default: as many as there is room for.")
    ] = None
    cpus: Annotated[int | None, Option(min=1, help="Cores of each worker, which are its threads; default: 1.")] = None
    gpus: Annotated[float | None, Option(min=0, help="GPUs of each worker, such as 0.25; default: none.")] = None

    def chosen(self) -> Engine:
        """The engine. ConfigError: Ray is not installed, or its options without it."""
        given = {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}
        if given.pop("engine") == "ray":
            require_ray()
            return RayEngine(**given)
        if given:
            raise ConfigError(
                f"{', '.join(f'--{name}' for name in given)}: for workers of Ray, give --engine ray as well."
            )
        return Local()


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its last arguments, dataclasses of options, as its last options in their place."""
    own = inspect.signature(command, eval_str=True)
    groups = [one for one in own.parameters.values() if is_dataclass(one.annotation)]
    kept = [one for one in own.parameters.values() if one not in groups]
    shared = {
        group.name: [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name])
            for one in fields(group.annotation)
        ]
        for group in groups
        for hints in [get_type_hints(group.annotation, include_extras=True)]
    }
    options = [one for own_options in shared.values() for one in own_options]

    @wraps(command)
    def with_options(**values: Any) -> None:
        for group in groups:
            values[group.name] = group.annotation(**{one.name: values.pop(one.name) for one in shared[group.name]})
        command(**values)

    with_options.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]
    with_options.__annotations__ = {one.name: one.annotation for one in (*kept, *options)}
    return with_options


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{option} {text}: expected NAME=VALUE, as in {option} {example}.")
    return name, value


def source_of(data: list[str] | None) -> str | list[str] | None:
    """One path as what it is: a prepared store is then mapped, not copied."""
    return data[0] if data is not None and len(data) == 1 else data


def tell(lines: Sequence[str]) -> None:
    """What a person should know of the bars, beside the result."""
    for line in lines:
        typer.echo(as_typed(line, "prepare"), err=True)


def bars_of(data: list[str], source: SourceOptions, *outputs: Path | None) -> BarStore:
    """The bars of DATA, read as asked; what a person should know of them is told.

    Raises:
        ConfigError: an output is, or contains, what is read. DataError: it cannot be read.
    """
    from chandler.data import SourceSettings, load_source, note_lines
    from chandler.data.inspection import findings
    from chandler.data.reading import opened

    settings = SourceSettings(path=source_of(data) or [], **source.given())
    read = {"DATA": opened(settings.path)}
    for output in outputs:
        if output is not None:
            require_apart(output, read)
    store = load_source(settings, skip_bad=source.skip_bad)
    tell(note_lines(findings(store), store.skipped))
    return store


def path_setting(data: list[str] | None) -> list[str]:
    """DATA as an override of the settings' data.path; none where nothing was given."""
    return [f"data.path={json.dumps(source_of(data))}"] if data else []


@contextmanager
def going_on_later() -> Iterator[None]:
    """Ctrl-C ends the command with exit code 130 and says that nothing is lost."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped. The same command goes on from here.", err=True)
        raise typer.Exit(130) from None
