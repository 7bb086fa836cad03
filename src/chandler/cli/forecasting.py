"""chandler forecast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Option

from chandler.cli.options import Data, EngineOptions, SourceOptions, bars_of, going_on_later, takes_options
from chandler.cli.remedies import as_typed
from chandler.errors import ConfigError


@takes_options
def forecast(
    data: Data,
    model: Annotated[
        str,
        Option(
            help="A run folder, chandler-nano (bundled), a repository (NeoQuasar/Kronos-small, me/my-repo), or "
            "TOKENIZER+PREDICTOR."
        ),
    ] = "chandler-nano",
    horizon: Annotated[int, Option(help="Bars to forecast.")] = 24,
    paths: Annotated[int, Option(help="Sampled futures per symbol.")] = 100,
    temperature: Annotated[float, Option(help="Below 1 narrows the distribution.")] = 1.0,
    top_p: Annotated[float, Option(help="Keep the likeliest tokens up to this probability; 1 keeps all.")] = 1.0,
    top_k: Annotated[int, Option(help="Keep this many tokens; 0 keeps all, 1 is greedy.")] = 0,
    seed: Annotated[int, Option(help="The same seed gives the same paths.")] = 0,
    lookback: Annotated[int | None, Option(help="Bars of history to use; default: as trained.")] = None,
    calendar: Annotated[
        str | None,
        Option(
            help="When it trades: XNYS, XSHG, ..., 24/7, 24/5, inferred (from the bars); default: the run's own, else inferred."
        ),
    ] = None,
    overflow: Annotated[
        Literal["exact", "block", "trim"],
        Option(
            help="Beyond the model's context: exact (slide by a bar; slow), block (by an eighth of the context), "
            "trim (cut the history so that all fits)."
        ),
    ] = "exact",
    precision: Annotated[
        Literal["float32", "bfloat16", "int8"],  # chandler.settings.Precision, which is slow to import
        Option(help="bfloat16 is faster where the processor has it, int8 on a CPU where it has not; both less exact."),
    ] = "float32",
    repair: Annotated[
        bool, Option("--repair", help="Make every bar tradable: high and low around open and close, volume >= 0.")
    ] = False,
    anchor: Annotated[
        bool, Option("--anchor/--no-anchor", help="Begin paths at the last close, not at what the tokens have of it.")
    ] = True,
    calibrated: Annotated[
        bool,
        Option(
            "--calibrated",
            help="Blended with naive forecasts, bands that cover what they say: apply the model's calibration "
            "(chandler calibrate).",
        ),
    ] = False,
    memory: Annotated[
        int | None,
        Option(
            help="MB that generation may use for caches; default: a quarter of what is free, half on an accelerator."
        ),
    ] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    out: Annotated[Path | None, Option(help="All paths as one long table, .parquet or .csv.")] = None,
    plot: Annotated[
        Path | None, Option(help="A candle chart, .png, .svg, .pdf or .html; several symbols: one file each.")
    ] = None,
    journal: Annotated[
        Path | None,
        Option(help="Keep the forecasts in this folder, to be scored as their bars come (chandler journal)."),
    ] = None,
    chunk: Annotated[
        int | None,
        Option(min=1, help="Symbols of a part, with --engine ray: what the loss of a worker costs; default: 64."),
    ] = None,
    *,
    source: SourceOptions,
    workers: EngineOptions,
) -> None:
    """Continue each symbol of DATA by HORIZON bars: a distribution of sampled paths, printed as quantiles of the close.

    Example: [bold]chandler forecast bars.csv --model runs/mine --horizon 24 --out f.parquet --plot f.png[/bold]
    """
    from chandler.data.calendars import known_calendar
    from chandler.engines import RayEngine
    from chandler.forecasting import (
        Forecast,
        Forecaster,
        ForecastSettings,
        Sampling,
        TableRow,
        model_parts,
        spacing,
        table_text,
        write_plots,
        write_table,
    )
    from chandler.journal import Journal
    from chandler.scale import forecast_parts

    engine = workers.chosen()
    spread = isinstance(engine, RayEngine)
    if spread:
        refused = [f"--{name}" for name, given in (("plot", plot), ("journal", journal)) if given is not None]
        if refused or out is None:
            raise ConfigError(
                f"with --engine ray all paths go to the file of --out{' alone, without ' + ' and '.join(refused) if refused else ''}. "
                "Give --out FILE.parquet."
            )
    elif chunk is not None:
        raise ConfigError("--chunk cuts the work of --engine ray in parts: give that as well, or leave it out.")
    # What cannot be written is refused before the long part.
    for target, kinds in (
        (out, (".parquet",) if spread else (".parquet", ".csv")),
        (plot, (".png", ".svg", ".pdf", ".html")),
    ):
        if target is not None and target.suffix.lower() not in kinds:
            raise ConfigError(f"{target}: the name must end in {' or '.join(kinds)}.")
        if target is not None and target.is_dir():
            raise ConfigError(f"{target}: this is a folder. Give the name of a file.")
    kept = None if journal is None else Journal(journal)
    calendar = known_calendar(calendar)
    parts = model_parts(model)
    named = parts if len(parts) == 2 else model
    forecaster = Forecaster.from_pretrained(named, device="cpu" if spread else device)
    store = bars_of(data, source, out, plot, journal)
    how = ForecastSettings(
        paths, Sampling(temperature, top_k, top_p), lookback, overflow, precision,
        None if memory is None else memory * 1_000_000, calendar, repair, calibrated, anchor,
    )  # fmt: skip
    rows: Sequence[Forecast | TableRow]
    if spread:
        with going_on_later():
            rows = forecast_parts(
                named,
                store,
                horizon,
                out or "",
                settings=how,
                seed=seed,
                chunk=chunk or 64,
                device=device,
                engine=engine,
            )
    else:
        rows = forecasts = forecaster.forecast_with(how, store, horizon, seed=seed)
    if calibrated and forecaster.calibration is not None:
        fitted, last = forecaster.calibration, int(store.timestamps[store.offsets[1:] - 1].max())
        typer.echo(fitted.told(last, spacing(store)))
    typer.echo(as_typed(table_text(rows, rest="--out writes all of them"), "forecast"))
    if spread:
        typer.echo(f"Paths: {out}")
        return
    if kept is not None:
        said = as_typed(kept.keep(forecasts, forecaster).to_text(), "forecast")
        typer.echo(f"Journal: {kept.folder}: {said}")
    if out is not None:
        typer.echo(f"Paths: {write_table(forecasts, out)}")
    if plot is not None:
        for path in write_plots(forecasts, plot):
            typer.echo(f"Plot: {path}")
