"""Training on an accelerator: the whole loop of a stage against a yardstick and against a bare captured step."""

from __future__ import annotations

import copy
import itertools
import json
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import yardstick
from benchmarks.device import Bench, say
from benchmarks.train import Yardstick, bars, step_flops
from chandler.data.datasets import Windows
from chandler.nn import Kronos, KronosTokenizer
from chandler.nn.predictor import PredictorConfig
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.tokenizer import TokenizerConfig
from chandler.training.datasets import RunData, to_device
from chandler.training.datasets.device_placement import on_device
from chandler.training.datasets.mixture import TrainingSet
from chandler.training.engine import (
    CheckpointManager,
    Interrupted,
    PredictorStage,
    RunContext,
    StopRequest,
    TokenizerStage,
    Trainer,
    make_accelerator,
)
from chandler.training.logging import Callback
from chandler.training.settings import PRETRAINING, Settings, load_settings

ROOT = Path(__file__).parents[1]
NANO = ROOT / "src" / "chandler" / "assets" / "nano"
LOG_EVERY, SKIPPED, TIMED = 10, 2, 6
"""Steps of an interval of the log; intervals of a run that are not counted, and that are."""
LONGEST = 6.0
"""Seconds after which a run is timed by the intervals that there are."""
STEPS_PER_EPOCH, EPOCHS = 100, 100
"""So long that a run does what long runs do; it is stopped once it is timed."""
PLAIN = "bfloat16, not compiled"


@dataclass(frozen=True)
class Case:
    """A stage, its sizes, and how it is trained."""

    name: str
    config: PredictorConfig | TokenizerConfig
    batch: int
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    lookback: int = 90
    horizon: int = 10
    source: Any = None
    """A YAML with the settings of the stage; None for the defaults of finetuning."""
    log_every: int = LOG_EVERY
    bare: bool = False
    """Whether it is held against a bare captured step."""

    @property
    def stage(self) -> str:
        """tokenizer or predictor."""
        return "tokenizer" if isinstance(self.config, TokenizerConfig) else "predictor"

    @property
    def rows(self) -> int:
        """Of a window: the last one is a target only."""
        return self.lookback + self.horizon + 1

    @property
    def label(self) -> str:
        """As in tables."""
        return f"{self.stage} {self.name} {self.batch}x{self.rows}"

    def settings(self, device: torch.device, precision: str, graph: str = "auto", compiled: str = "auto") -> Settings:
        """Of a run that is validated and saved at its start and its end alone."""
        data = {"path": "made up", "lookback": self.lookback, "horizon": self.horizon}
        own = {"epochs": EPOCHS, "batch_size": self.batch, "validate_every": 10**9, "save_every": 10**9}
        switches = {"compile": compiled, "cuda_graph": graph}
        overrides = [f"precision={precision}", f"device={device}", f"log_every={self.log_every}"]
        overrides += [f"{self.stage}.{key}={value}" for key, value in own.items()]
        overrides += [f'{self.stage}.{key}="{value}"' for key, value in switches.items()]
        if self.source is not None:
            return load_settings(self.source, overrides, out="unwritten", defaults=PRETRAINING)
        return load_settings({"data": data}, overrides, out="unwritten")


def cases(tiny: bool) -> list[Case]:
    """Those that matter most come first."""
    asked = [json.loads((NANO / part / "config.json").read_text()) for part in ("tokenizer", "predictor")]
    codes, nano = TokenizerConfig(**asked[0]), PredictorConfig(**asked[1])
    yaml = ROOT / "configs" / "nano-gpu.yaml"
    plan = load_settings(yaml, defaults=PRETRAINING)
    pretraining: dict[str, Any] = {"lookback": plan.data.lookback, "horizon": plan.data.horizon, "source": yaml}
    if tiny:
        bits = {"s1_bits": 6, "s2_bits": 6, "d_model": 32, "n_heads": 2, "ff_dim": 48}
        codes, nano = TokenizerConfig(**bits, n_enc_layers=2, n_dec_layers=2), PredictorConfig(**bits, n_layers=2)
        small: dict[str, Any] = {"tokenizer": codes, "lookback": 12, "horizon": 4, "log_every": 1}
        return [
            Case("tiny", nano, 4, bare=True, **small),
            Case("tiny", codes, 4, **small),
            Case("nano", nano, 2, codes, log_every=1, **pretraining),
        ]
    return [
        Case("small", PREDICTORS["small"], 50, bare=True),
        Case("base", PREDICTORS["base"], 50),
        Case("nano", nano, plan.predictor.batch_size, codes, bare=True, **pretraining),
        Case("base", TOKENIZERS["base"], 50),
        Case("small", PREDICTORS["small"], 256),
        Case("base", PREDICTORS["base"], 256),
        Case("nano", codes, plan.tokenizer.batch_size, codes, **pretraining),
    ]


class Unsaved(CheckpointManager):
    """Writes nothing: saving is no part of a step."""

    def __init__(self) -> None:
        super().__init__(Path("unwritten"))

    def save(self, *state: Any) -> None:
        """Nothing."""

    def save_best(self, *state: Any) -> None:
        """Nothing."""


class Pace(Callback):
    """Times the intervals between two records, and stops the run when there are enough or the clock says so."""

    def __init__(self, stop: StopRequest, intervals: int, end: float) -> None:
        self.stop, self.intervals, self.end = stop, intervals, end
        self.ticks: list[tuple[float, int]] = []

    def on_step(self, record: dict[str, Any]) -> None:
        self.ticks.append((time.perf_counter(), record["step"]))
        found = len(self.gaps())
        if found >= self.intervals or (found and time.monotonic() > self.end):
            self.stop.signal = 15

    def on_warning(self, text: str) -> None:
        say(f"| warning | {text} |")

    def gaps(self) -> list[float]:
        """Seconds of a step in each interval after the first two."""
        pairs = itertools.pairwise(self.ticks[SKIPPED - 1 :])
        return [(late - early) / (last - first) for (early, first), (late, last) in pairs]


class Bed:
    """What the cases of a section share: bars, models, and what was measured."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.store = bars(8, 1000 if bench.tiny else 5000)
        self.intervals = 1 if bench.tiny else TIMED
        self.found: dict[tuple[Case, str], float] = {}
        """Seconds of a step."""
        self._data: dict[tuple[int, int], RunData] = {}
        self._models: dict[Any, nn.Module] = {}

    def data(self, case: Case) -> RunData:
        """Windows whose rows live on the device, and eight more for validation."""
        key = case.lookback, case.horizon
        if key not in self._data:
            lows, highs = self.store.offsets[:-1], self.store.offsets[1:]
            main = Windows(self.store, np.stack([lows, highs - case.rows], axis=1), *key)
            few = Windows(self.store, np.stack([highs - case.rows, highs], axis=1), *key)
            data = RunData(TrainingSet(main), few, None)
            on = self.bench.device.type == "cuda"
            self._data[key] = on_device(data, self.bench.device) if on else data
        data = self._data[key]
        return replace(data, train=replace(data.train, limit=STEPS_PER_EPOCH * case.batch))

    def stage(self, case: Case, settings: Settings) -> Any:
        """With the same random weights each time."""
        tokenizer: Any = self._model(KronosTokenizer, case.tokenizer)
        if isinstance(case.config, TokenizerConfig):
            return TokenizerStage(tokenizer)
        s, model = settings.predictor, self._model(Kronos, case.config)
        return PredictorStage(
            model, tokenizer.requires_grad_(False), case.lookback, s.condition, s.loss, noise=s.token_noise
        )

    def _model(self, kind: Any, config: Any) -> Any:
        if config not in self._models:
            self._models[config] = kind(config, generator=torch.Generator().manual_seed(0))
        return copy.deepcopy(self._models[config])

    def batch(self, case: Case, settings: Settings, seed: int = 0) -> Any:
        """A batch on the device."""
        draw, train = torch.Generator().manual_seed(seed), self.data(case).train
        indices = np.random.default_rng(seed).integers(len(train.main), size=case.batch)
        uniforms = torch.rand(case.batch, case.rows, generator=draw)
        found = to_device(train, indices, uniforms, self.bench.device)
        if case.stage == "tokenizer" or not settings.predictor.token_noise:
            return found
        return replace(found, noise=torch.rand(case.batch, case.rows, 2, generator=draw).to(self.bench.device))

    def fit(self, case: Case, precision: str, **switches: str) -> float:
        """Seconds of a step of `Trainer.fit`."""
        settings, stop = case.settings(self.bench.device, precision, **switches), StopRequest()
        accelerator = make_accelerator(settings.device, settings.precision)
        stage, data = self.stage(case, settings), self.data(case)
        pace = Pace(stop, self.intervals, time.monotonic() + min(LONGEST, self.bench.left()))
        run = RunContext(settings, data, accelerator, [pace], stop, False)
        trainer = Trainer(stage, getattr(settings, case.stage), run, Unsaved(), 1)
        with suppress(Interrupted):
            trainer.fit()
        return statistics.median(pace.gaps())

    def yardstick(self, case: Case) -> float:
        """Seconds of a step of the yardstick loop, on batches that lie ready on the device."""
        device, settings = self.bench.device, case.settings(self.bench.device, "float32")
        batches = [self.batch(case, settings, seed) for seed in range(4)]
        ready = itertools.cycle([(one.values, one.stamps) for one in batches])
        tokenizer = yardstick.Tokenizer(case.tokenizer).to(device)
        if isinstance(case.config, TokenizerConfig):
            step = Yardstick(tokenizer, ready, None)
        else:
            step = Yardstick(yardstick.Predictor(case.config).to(device), ready, tokenizer)
        return self.bench.median(step, **self._groups(5), warmup=3, seconds=4.0)

    def bare(self, case: Case) -> float:
        """Seconds of a bare step in bfloat16."""
        settings = case.settings(self.bench.device, "bfloat16")
        stage = self.stage(case, settings)
        for model in (stage.model, *stage.frozen):
            model.to(self.bench.device)
        step = bare_step(stage, self.batch(case, settings), self.bench)
        return self.bench.median(step, **self._groups(LOG_EVERY), seconds=4.0)

    def _groups(self, steps: int) -> dict[str, int]:
        return {"group": 1, "groups": 1} if self.bench.tiny else {"group": steps, "groups": 5}

    def time(self, case: Case, variant: str, measure: Callable[[], float]) -> None:
        """A row of the table."""
        precision = "bfloat16" if variant.startswith(("bfloat16", "bare")) else "float32"
        with self.bench.case(f"{case.label} | {variant}"):
            seconds = self.found[case, variant] = measure()
            flops = step_flops(case.config, case.tokenizer, case.batch, case.rows)
            say(
                f"| {case.label} | {variant} | {seconds * 1e3:.2f} | {case.batch / seconds:,.0f} | "
                f"{flops / seconds / self.bench.rates[precision]:.1%} | {self.bench.peak()} |"
            )

    def summary(self, every: list[Case]) -> None:
        """One row for each case: what was measured side by side."""
        columns = ("yardstick", "float32, not compiled", "bfloat16, launched", PLAIN, "bfloat16", "bare graph")
        say(f"\n| case, ms/step | {' | '.join(columns)} | times the yardstick | of the bare graph |")
        say(f"| --- {'| ---: ' * (len(columns) + 2)}|")

        def ms(seconds: float | None) -> str:
            return "-" if seconds is None else f"{seconds * 1e3:.2f}"

        def share(above: float | None, below: float | None, form: str) -> str:
            return "-" if above is None or below is None else format(above / below, form)

        for case in every:
            found = {variant: self.found.get((case, variant)) for variant in columns}
            best = min((one for one in (found["bfloat16"], found[PLAIN]) if one is not None), default=None)
            say(f"| {case.label} | {' | '.join(map(ms, found.values()))} | {share(found['yardstick'], best, '.1f')} | "
                f"{share(found['bare graph'], best, '.0%')} |")  # fmt: skip


def bare_step(stage: Any, batch: Any, bench: Bench) -> Callable[[], Any]:
    """Forward, backward, clipping and AdamW of one batch that never changes: captured once, or eager without CUDA."""
    on = bench.device.type == "cuda"
    parameters = [p for p in stage.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-5, weight_decay=0.1, fused=True, capturable=on)
    stage.model.train()

    def step() -> None:
        half = torch.autocast(bench.device.type, torch.bfloat16, cache_enabled=False)
        with half:
            loss = stage.losses(stage.model, batch, lambda x: x)["loss"]
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 3.0, foreach=True)
        optimizer.step()

    def fresh() -> None:
        optimizer.zero_grad(set_to_none=True)
        step()

    if not on:
        return fresh
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            fresh()
    torch.cuda.current_stream().wait_stream(side)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def train(bench: Bench) -> None:
    """Both stages, what matters most first."""
    say(
        f"Whole steps of Trainer.fit (bars on the device, eight windows of validation, nothing saved): median of {TIMED} "
        f"intervals of {LOG_EVERY} steps after the first {SKIPPED}. Yardstick: float32, its batches lie ready on the device. Bare "
        "graph: one batch, the same losses, bfloat16, captured once. bfloat16 alone is what a long run does by default: captured "
        "and compiled; launched: neither. Of peak: of the product above, in the same precision.\n"
    )
    say(
        "| case | variant | ms/step | windows/s | of peak | peak memory, GB |\n| --- | --- | ---: | ---: | ---: | ---: |"
    )
    bed, every = Bed(bench), cases(bench.tiny)
    off = {"graph": "off", "compiled": "off"}
    released = [case for case in every if case.name != "nano"]
    few = [case for case in released if case.batch < 256]
    jobs = [(case, PLAIN, partial(bed.fit, case, "bfloat16", compiled="off")) for case in every]
    jobs += [(case, "yardstick", partial(bed.yardstick, case)) for case in released]
    jobs += [(case, "bare graph", partial(bed.bare, case)) for case in every if case.bare]
    jobs += [(case, "bfloat16, launched", partial(bed.fit, case, "bfloat16", **off)) for case in few]
    jobs += [(case, "bfloat16", partial(bed.fit, case, "bfloat16")) for case in every]
    jobs += [(case, "float32, not compiled", partial(bed.fit, case, "float32", compiled="off")) for case in released]
    try:
        for case, variant, measure in jobs:
            bed.time(case, variant, measure)
    finally:
        bed.summary(every)
