"""Training speed: windows a second of both stages against the yardstick loop, and their share of the GEMM peak.

Everything is measured in one run on the machine at hand: `make bench-train`.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import chandler
from benchmarks import yardstick
from chandler.data.bars import Bars
from chandler.data.datasets.windows import Windows
from chandler.data.store.store import BarStore
from chandler.nn.predictor import Kronos, PredictorConfig
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.tokenizer import KronosTokenizer, TokenizerConfig
from chandler.training.datasets.augment import to_device
from chandler.training.engine.optim import make_optimizer
from chandler.training.engine.stages import PredictorStage, TokenizerStage

LOOKBACK, HORIZON, BATCH = 90, 10, 50
ROWS = LOOKBACK + HORIZON + 1


def bars(symbols: int, rows: int) -> BarStore:
    """Random walks of minute bars."""
    random = np.random.default_rng(0)
    index = pd.date_range("2024-01-02 09:30", periods=rows, freq="min")
    made = []
    for number in range(symbols):
        close = 100 * np.exp(np.cumsum(random.normal(0, 1e-3, rows)))
        spread = np.abs(random.normal(0, 1e-3, (2, rows))) * close
        opened = np.roll(close, 1)
        high, low = np.maximum(opened, close) + spread[0], np.minimum(opened, close) - spread[1]
        volume = random.lognormal(8, 1, rows)
        values = np.stack([opened, high, low, close, volume, volume * close], axis=1)
        made.append(Bars(f"S{number}", index, values))
    return BarStore.from_bars(made)


def frames(store: BarStore) -> list[pd.DataFrame]:
    """The same bars as the yardstick wants them."""
    result = []
    for each in store:
        frame = each.to_frame().reset_index()
        t = frame["timestamp"].dt
        frame = frame.assign(minute=t.minute, hour=t.hour, weekday=t.day_of_week, day=t.day, month=t.month)
        result.append(frame)
    return result


def gemm_peak(dtype: torch.dtype) -> float:
    """FLOP per second of a large matrix product."""
    a, b = torch.randn(4096, 2048, dtype=dtype), torch.randn(2048, 2048, dtype=dtype)
    seconds = median_seconds(lambda: a @ b, 8)
    return 2 * 4096 * 2048 * 2048 / seconds


def median_seconds(step: Callable[[], Any], repeats: int, warmup: int = 1) -> float:
    for _ in range(warmup):
        step()
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def medians(steps: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Median seconds of each; they take turns, so that a machine whose speed drifts is fair to all of them."""
    taken: list[list[float]] = [[] for _ in steps]
    for _ in range(repeats):
        for step, own in zip(steps, taken, strict=True):
            begun = time.perf_counter()
            step()
            own.append(time.perf_counter() - begun)
    return [statistics.median(own) for own in taken]


def block_flops(d: int, ff: int, rows: int, length: int) -> float:
    """Multiplications and additions of one block's forward pass over `rows` rows in windows of `length`."""
    return rows * (2 * (4 * d * d + 3 * d * ff) + 2 * 2 * length * d)


def tokenizer_flops(c: TokenizerConfig, rows: int, length: int) -> float:
    """Forward: encoder once, decoder twice."""
    blocks = (c.n_enc_layers - 1) + 2 * (c.n_dec_layers - 1)
    return blocks * block_flops(c.d_model, c.ff_dim, rows, length)


def predictor_flops(c: PredictorConfig, rows: int, length: int) -> float:
    """Forward: fusion, blocks, dependency layer, both heads."""
    d = c.d_model
    heads = 2 * rows * d * (2**c.s1_bits + 2**c.s2_bits)
    return (
        c.n_layers * block_flops(d, c.ff_dim, rows, length)
        + rows * (2 * 2 * d * d + 2 * 4 * d * d + 4 * length * d)
        + heads
    )


def step_flops(config: TokenizerConfig | PredictorConfig, tokenizer: TokenizerConfig, batch: int, rows: int) -> float:
    """Of a training step on windows of `rows` rows: a backward pass counts as two forward ones."""
    if isinstance(config, TokenizerConfig):
        return 3 * tokenizer_flops(config, batch * rows, rows)
    # The frozen tokenizer encodes every batch: encoder only, no backward.
    encoding = (tokenizer.n_enc_layers - 1) * block_flops(tokenizer.d_model, tokenizer.ff_dim, batch * rows, rows)
    return 3 * predictor_flops(config, batch * (rows - 1), rows - 1) + encoding


class Ours:
    """A step of our loop: gather, forward, backward, clip, optimiser."""

    def __init__(self, stage: Any, windows: Windows, precision: str, compiled: bool) -> None:
        self.stage, self.windows = stage, windows
        self.model = torch.compile(stage.model) if compiled else stage.model
        self.optimizer = make_optimizer(stage.model, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1)
        self.precision = precision
        self.random = np.random.default_rng(0)

    def __call__(self) -> None:
        indices = self.random.integers(len(self.windows), size=BATCH)
        batch = to_device(self.windows, indices, torch.rand(BATCH, ROWS), torch.device("cpu"))
        half = torch.autocast("cpu", dtype=torch.bfloat16) if self.precision == "bfloat16" else contextlib.nullcontext()
        self.model.train()
        with half:
            losses = self.stage.losses(self.model, batch, lambda x: x)
        losses["loss"].backward()
        nn.utils.clip_grad_norm_(self.stage.model.parameters(), 3.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


class Yardstick:
    """A step of the yardstick loop."""

    def __init__(self, model: nn.Module, batches: Any, tokenizer: yardstick.Tokenizer | None) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.source = batches
        self.batches = iter(batches)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0.1)

    def __call__(self) -> None:
        x, stamps = next(self.batches)
        self.model.train()
        if self.tokenizer is None:
            loss = self.model(x)
        else:
            with torch.no_grad():
                s1, s2 = self.tokenizer.eval().ids(x)
            loss = self.model(s1, s2, stamps)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 3.0)
        self.optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each variant (the median counts)")
    parser.add_argument("--sizes", default="mini,small", help="of predictors; an empty text: the tokenizer alone")
    parser.add_argument("--no-compile", action="store_true", help="leave out the compiled variants")
    options = parser.parse_args()
    store = bars(8, 5000)
    windows = Windows(store, np.stack([store.offsets[:-1], store.offsets[1:]], axis=1), LOOKBACK, HORIZON)
    tables = frames(store)
    peaks = {"float32": gemm_peak(torch.float32), "bfloat16": gemm_peak(torch.bfloat16)}
    print(
        f"chandler {chandler.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"
    )
    print("GEMM peak: " + ", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in peaks.items()))

    random = np.random.default_rng(1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ours = median_seconds(lambda: windows.gather(random.integers(len(windows), size=500)), 20)
    torch.set_num_threads(threads)
    batches = iter(yardstick.loader(tables, ROWS, LOOKBACK, 10**6, BATCH))
    theirs = median_seconds(lambda: next(batches), 20)
    print(
        f"gathering windows, one core: {500 / ours:,.0f}/s; frame slicing {BATCH / theirs:,.0f}/s ({500 / ours / (BATCH / theirs):.0f}x)"
    )
    print()
    print(
        f"{'stage':<18}{'variant':<20}{'s/step':>8}{'windows/s':>11}{'of peak':>9}{'x yardstick':>13}{'compile s':>11}"
    )

    tokenizer_config = TOKENIZERS["base"]
    cases: list[tuple[str, Any]] = [("tokenizer", None)]
    cases += [(f"predictor {size}", PREDICTORS[size]) for size in options.sizes.split(",") if size]
    for name, config in cases:
        source = yardstick.loader(tables, ROWS, LOOKBACK, 10**6, BATCH)
        flops = step_flops(config or tokenizer_config, tokenizer_config, BATCH, ROWS)
        if config is None:
            slow = Yardstick(yardstick.Tokenizer(tokenizer_config), source, None)
        else:
            slow = Yardstick(yardstick.Predictor(config), source, yardstick.Tokenizer(tokenizer_config))
        variants: list[tuple[str, str, Callable[[], Any], float | None]] = [("yardstick", "float32", slow, None)]
        for precision in ("float32", "bfloat16"):
            for compiled in (False, True) if not options.no_compile else (False,):
                tokenizer = KronosTokenizer(tokenizer_config)
                stage: Any = (
                    TokenizerStage(tokenizer)
                    if config is None
                    else PredictorStage(Kronos(config), tokenizer.requires_grad_(False), LOOKBACK)
                )
                step = Ours(stage, windows, precision, compiled)
                begun = time.perf_counter()
                step()
                taken = time.perf_counter() - begun if compiled else None
                variants.append((f"{precision}{' compiled' if compiled else ''}", precision, step, taken))
        slow()
        seconds = medians([step for _, _, step, _ in variants], options.repeats)
        for (variant, precision, _, compiling), own in zip(variants, seconds, strict=True):
            extra = f"{compiling - own:>11.0f}" if compiling is not None else ""
            print(
                f"{name:<18}{variant:<20}{own:>8.3f}{BATCH / own:>11.1f}{flops / own / peaks[precision]:>9.0%}"
                f"{seconds[0] / own:>12.2f}x{extra}",
                flush=True,
            )


if __name__ == "__main__":
    main()
