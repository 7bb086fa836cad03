"""Generation on an accelerator, bar by bar and from frames to forecasts."""

from __future__ import annotations

import cProfile
import itertools
import pstats
import time
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import torch

from benchmarks.device import Bench, say
from benchmarks.forecast import prompt_of
from benchmarks.train import bars
from chandler import Forecaster
from chandler.forecasting.engine import GenerationSettings, Prompt, Sampling, generate
from chandler.forecasting.engine import reference as reencoding
from chandler.nn import Kronos, KronosTokenizer
from chandler.nn.predictor import PredictorConfig
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.tokenizer import TokenizerConfig

CONTEXT, LOOP_BARS = 512, 2
"""Rows a model sees at most; bars that the re-encoding loop adds, at the mean length of a window."""
SAMPLING = Sampling(temperature=1.0, top_k=0, top_p=1.0)
TINY_BITS: dict[str, Any] = {"s1_bits": 6, "s2_bits": 6, "d_model": 32, "n_heads": 2, "ff_dim": 48}
TOP = 12
"""Functions of a profile."""


def drawn(kind: Any, config: Any, bench: Bench) -> Any:
    """A model of random weights on the device: the time does not depend on their values."""
    return kind(config, generator=torch.Generator().manual_seed(0)).eval().to(bench.device)


def predictor(name: str, bench: Bench) -> Kronos:
    """A released size by name; tiny instead where that is asked for."""
    model: Kronos = drawn(Kronos, PredictorConfig(**TINY_BITS, n_layers=2) if bench.tiny else PREDICTORS[name], bench)
    return model


def forecast(bench: Bench) -> None:
    """`generate` alone: tokens in, tokens out."""
    history, horizon = (20, 4) if bench.tiny else (400, 100)
    many = 6 if bench.tiny else 1000
    some = max(2, many // 10)
    say(
        f"Tokens in, tokens out: history {history}, horizon {horizon}, top_p 1, random weights. Whole call: median of three after "
        "one, over the horizon. Bare: median time from step to step of one more call, which waits for the device at each, summed "
        "over its batches. Loop: "
        "re-encoding at the mean length, float32.\n"
    )
    say(
        "| model | series x paths | precision | whole call, ms/bar | bare, ms/bar | loop, ms/bar | times faster | "
        "peak memory, GB |"
    )
    say("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    sizes = {"small": [(1, 1), (1, some), (many, 1), (some, 1)], "base": [(1, 1), (many, 1)]}
    loops: dict[tuple[str, int, int], float] = {}
    for name, shapes in sizes.items():
        model = predictor(name, bench)
        for dtype in (torch.bfloat16, torch.float32):
            for series, paths in shapes:
                kind = str(dtype).removeprefix("torch.")
                with bench.case(f"{name} | {series} x {paths} | {kind}"):
                    key = (name, series, paths)
                    if series == 1 and key not in loops:
                        loops[key] = loop(model, bench, history + horizon // 2, paths)
                        bench.forget_peak()
                    whole, bare = engine(model, bench, history, horizon, series, paths, dtype)
                    beside = f"{loops[key] * 1e3:.2f} | {loops[key] / whole:.1f}" if key in loops else "- | -"
                    say(
                        f"| {name} | {series} x {paths} | {kind} | {whole * 1e3:.2f} | {bare * 1e3:.2f} | {beside} | "
                        f"{bench.peak()} |"
                    )
        del model


def prompt(model: Kronos, bench: Bench, rows: int, horizon: int, paths: int, key: int = 0) -> Prompt:
    """Tokens on the device, as the tokenizer leaves them; times and random numbers on the CPU."""
    made = prompt_of(model, rows, horizon, paths, key)
    return replace(made, s1=made.s1.to(bench.device), s2=made.s2.to(bench.device))


def loop(model: Kronos, bench: Bench, rows: int, paths: int) -> float:
    """Seconds of a bar of the re-encoding loop."""
    one = prompt(model, bench, rows, LOOP_BARS, paths)

    def call() -> None:
        reencoding.generate(model, [one], horizon=LOOP_BARS, sampling=SAMPLING, max_context=CONTEXT)

    return bench.median(call, groups=3, seconds=3.0) / LOOP_BARS


def engine(
    model: Kronos, bench: Bench, history: int, horizon: int, series: int, paths: int, dtype: torch.dtype
) -> tuple[float, float]:
    """Seconds of a bar (of all paths): of the whole call, and between two steps, of all batches together."""
    prompts = [prompt(model, bench, history, horizon, paths, key) for key in range(series)]
    settings = GenerationSettings(horizon, CONTEXT, SAMPLING, dtype=dtype)
    whole = bench.median(lambda: generate(model, prompts, settings), groups=3, seconds=4.0)
    ticks: list[float] = []

    def tick(done: int, total: int) -> None:
        bench.synchronize()
        ticks.append(time.perf_counter())

    generate(model, prompts, settings, progress=tick)
    # A call in several batches tells of the steps of one after the other, and they need not be of one size.
    gaps = torch.tensor(ticks, dtype=torch.float64).view(-1, horizon).diff()
    return whole / horizon, float(gaps.median(1).values.sum())


@dataclass(frozen=True)
class Job:
    """Forecasts of many series."""

    series: int
    paths: int
    horizon: int
    history: int
    precision: Any

    @property
    def label(self) -> str:
        """As in tables."""
        return f"{self.series:,} x {self.paths} x {self.horizon} | {self.history} | {self.precision}"

    def frames(self) -> list[pd.DataFrame]:
        """Random walks of minute bars."""
        return [one.to_frame() for one in bars(self.series, self.history)]


@dataclass(frozen=True)
class Timed:
    """Where the seconds of a call went: up to the first row, encoding, generating, decoding, and what is done after."""

    parts: tuple[float, ...]

    @property
    def whole(self) -> float:
        """Seconds of all."""
        return sum(self.parts)

    @classmethod
    def of(cls, forecaster: Forecaster, job: Job, frames: list[pd.DataFrame]) -> Timed:
        """Of one call; its parts by when progress tells that rows are done."""
        told: list[tuple[float, int]] = []
        begun = time.perf_counter()
        forecaster.forecast_many(
            frames,
            job.horizon,
            job.paths,
            precision=job.precision,
            lookback=job.history,
            progress=lambda done, total: told.append((time.perf_counter(), done)),
        )
        end, rows, new = time.perf_counter(), job.series * job.history, job.series * job.paths * job.horizon
        # The tokenizer tells of each history, the engine of each again and of its rows, the decoder of those once more.
        marks = [
            next((at for at, done in told if done >= count), end)
            for count in (1, rows, 2 * rows + new, 2 * rows + 2 * new)
        ]
        moments = [begun, *marks, end]
        return cls(tuple(late - early for early, late in itertools.pairwise(moments)))


def many(bench: Bench) -> None:
    """From frames to forecasts, with the tokenizer and all that is around it."""
    words = TokenizerConfig(**TINY_BITS, n_enc_layers=2, n_dec_layers=2) if bench.tiny else TOKENIZERS["base"]
    forecaster = Forecaster(
        drawn(KronosTokenizer, words, bench), predictor("small", bench), device=bench.device, max_context=CONTEXT
    )
    say("Frames to Forecast objects: Kronos-small and Tokenizer-base of random weights, `forecast_many`, seconds.\n")
    say(
        "| series x paths x bars | history | precision | all | before | encode | generate | decode | after | series/s | "
        "peak memory, GB |"
    )
    say("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    job = Job(8, 2, 4, 20, "bfloat16") if bench.tiny else Job(200, 10, 100, 400, "bfloat16")
    frames, estimate = job.frames(), None
    for one in (job, replace(job, precision="float32")):
        with bench.case(one.label):
            first = Timed.of(forecaster, one, frames)
            timed = Timed.of(forecaster, one, frames) if bench.left() > first.whole else first
            row(one, timed, bench)
            estimate = timed if estimate is None else estimate
    large = Job(16, 3, 4, 12, "bfloat16") if bench.tiny else Job(5000, 30, 24, 120, "bfloat16")
    if estimate is not None:
        with bench.case(large.label):
            large = affordable(large, job, estimate, bench)
            row(large, Timed.of(forecaster, large, large.frames()), bench)
    with bench.case(f"profile of {job.label}"):
        profile(forecaster, job, frames)


def row(job: Job, timed: Timed, bench: Bench) -> None:
    """A row of the table."""
    parts = " | ".join(f"{part:.2f}" for part in timed.parts)
    say(f"| {job.label} | {timed.whole:.2f} | {parts} | {job.series / timed.whole:,.1f} | {bench.peak()} |")


def affordable(job: Job, other: Job, timed: Timed, bench: Bench) -> Job:
    """The job, of a fifth of its series where what was timed of another says that all would take more than a minute."""
    before, encode, generated, decode, after = timed.parts
    rows = job.paths * job.horizon / (other.paths * other.horizon)
    predicted = job.series / other.series * (before + encode + after + decode + generated * rows)
    most = min(60.0, bench.left() - 5)
    if predicted <= most:
        return job
    fewer = replace(job, series=job.series // 5)
    say(f"\n{job.series:,} series would take {predicted:.0f} s: {fewer.series:,} instead.\n")
    return fewer


def profile(forecaster: Forecaster, job: Job, frames: list[pd.DataFrame]) -> None:
    """What the time of one call goes to, by functions of Python."""
    recorded = cProfile.Profile()
    recorded.runcall(Timed.of, forecaster, job, frames)
    found: Any = pstats.Stats(recorded)
    stats = sorted(found.stats.items(), key=lambda item: -item[1][3])
    say(f"\nProfiled, {job.label.replace(' | ', ', ')}:\n\n| function | calls | seconds, own | with what it calls |")
    say("| --- | ---: | ---: | ---: |")
    for (file, line, name), (_, calls, own, cumulative, _) in stats[:TOP]:
        where = f"{'/'.join(file.split('/')[-2:])}:{line} " if line else ""
        say(f"| {where}{name.strip('<>')} | {calls:,} | {own:.2f} | {cumulative:.2f} |")
