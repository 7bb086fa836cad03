"""How fast paths are generated: the cached engine against the re-encoding loop, and against the hardware.

    python benchmarks/forecast.py            # all of it, some 10 minutes on 2 cores
    python benchmarks/forecast.py --quick    # tiny sizes, seconds: only to see that it runs

Released sizes, random weights (the time does not depend on their values), top_p 0.9. Prints one Markdown table. The
re-encoding loop is timed on single steps at the mean window length and scaled to the horizon; the engine is timed
from call to return, so packing the weights and encoding the history are in it. Every number is the best of its
repeats, since on a shared machine noise only adds.
"""

from __future__ import annotations

import argparse
import ctypes
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from chandler.forecasting.engine import reference as reencoding
from chandler.forecasting.engine.generation import generate
from chandler.forecasting.engine.kernels import packs
from chandler.forecasting.engine.planning import GenerationSettings
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import Sampling, path_uniforms
from chandler.nn.predictor import Kronos, PredictorConfig

SAMPLING = Sampling(temperature=1.0, top_k=0, top_p=0.9)
CONFIGS = {
    "mini": (PredictorConfig(n_layers=4, d_model=256, n_heads=4, ff_dim=512), 2048),
    "small": (PredictorConfig(n_layers=8, d_model=512, n_heads=8, ff_dim=1024), 512),
}
TINY = {"tiny": (PredictorConfig(s1_bits=6, s2_bits=6, n_layers=2, d_model=32, n_heads=2, ff_dim=48), 64)}
HEADER = (
    "| model | series x paths | loop, s/step | engine, s | engine, ms/step | times faster | "
    "floor, ms/step: memory, arithmetic | step / floor | peak memory, MB |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


@dataclass(frozen=True)
class Machine:
    """What the hardware can do, measured here and now."""

    bandwidth: float
    """bytes / s, reading as much as Kronos-small has weights, over and over."""
    arithmetic: float
    """float32 operations / s of the best square matrix product."""


@dataclass(frozen=True)
class Sizes:
    """How much is run."""

    history: int
    horizon: int
    paths: tuple[int, ...]
    series: int
    repeats: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, only to see that it runs")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", nargs="*", help="some of: mini small")
    parser.add_argument("--skip-series", action="store_true", help="leave out the 1,000 series")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    configs = TINY if args.quick else CONFIGS
    sizes = Sizes(20, 8, (1, 4), 12, 1) if args.quick else Sizes(400, 112, (1, 10, 30, 100), 1000, args.repeats)
    machine = measure_machine(1 << 20 if args.quick else 23 << 20, 128 if args.quick else 2048)
    print(f"{processor()}, {args.threads} threads, torch {torch.__version__}, Python {platform.python_version()}. ")
    print(
        f"Reads {machine.bandwidth / 1e9:.1f} GB/s, multiplies {machine.arithmetic / 1e9:.0f} GFLOP/s. "
        f"History {sizes.history}, horizon {sizes.horizon}; the loop is timed on single steps and scaled.\n"
    )
    print(HEADER)
    for name in args.models or configs:
        config, context = configs[name]
        model = Kronos(config, generator=torch.Generator().manual_seed(0)).eval()
        for row in bench_model(name, model, context, sizes, machine):
            print(row, flush=True)
        if not args.skip_series:
            print(bench_series(name, model, context, sizes), flush=True)


def bench_model(name: str, model: Kronos, context: int, sizes: Sizes, machine: Machine) -> Iterator[str]:
    """Rows of the table: one series, growing numbers of paths; then the two ends again in bfloat16, and int8 where it runs."""
    middle = sizes.history + sizes.horizon // 2
    kinds = [(paths, torch.float32) for paths in sizes.paths]
    others = [torch.bfloat16, torch.int8] if packs(torch.int8) else [torch.bfloat16]
    kinds += [(paths, dtype) for dtype in others for paths in (sizes.paths[0], sizes.paths[-1])]
    loop: dict[int, float] = {}
    for paths, dtype in kinds:
        if paths not in loop:
            one = prompt_of(model, middle, 1, paths)
            few = max(1, min(sizes.repeats, 12 // paths))
            loop[paths] = best(lambda one=one: plain_step(model, one, context), few)
        prompt = prompt_of(model, sizes.history, sizes.horizon, paths)
        seconds, step, peak = run(model, [prompt], sizes, context, dtype)
        floors = floor(model, sizes, paths, machine, dtype.itemsize)
        half = dtype != torch.float32
        # There is no floor for the arithmetic of others here: its rate is another one.
        floor_text = f"{floors[0] * 1e3:.1f}, " + ("-" if half else f"{floors[1] * 1e3:.1f}")
        over = "-" if half else f"{step / max(floors):.2f}"
        yield (
            f"| {name}{f' ({dtype})'.replace('torch.', '') if half else ''} | 1 x {paths} | {loop[paths]:.3f} | {seconds:.2f} | "
            f"{step * 1e3:.2f} | {loop[paths] * sizes.horizon / seconds:.0f} | {floor_text} | {over} | {peak:.0f} |"
        )


def bench_series(name: str, model: Kronos, context: int, sizes: Sizes) -> str:
    """The row of many series of one path each, lengths between half the history and all of it."""
    lengths = torch.randint(sizes.history // 2, sizes.history + 1, (sizes.series,)).tolist()
    prompts = [prompt_of(model, rows, sizes.horizon, 1, key) for key, rows in enumerate(lengths)]
    seconds, _, peak = run(model, prompts, Sizes(sizes.history, sizes.horizon, (), 0, 1), context, torch.float32)
    rate = sizes.series / seconds
    return f"| {name} | {sizes.series} x 1 | - | {seconds:.1f} | {rate:.1f} series/s | - | - | - | {peak:.0f} |"


def run(
    model: Kronos, prompts: list[Prompt], sizes: Sizes, context: int, dtype: torch.dtype
) -> tuple[float, float, float]:
    """Seconds of the whole call, seconds of a step (all paths), and peak memory above the start in MB."""
    totals, steps = [], []
    start_memory = reset_peak()
    for _ in range(sizes.repeats):
        ticks = [time.perf_counter()]
        generate(
            model,
            prompts,
            GenerationSettings(sizes.horizon, context, SAMPLING, dtype=dtype),
            progress=lambda done, total, ticks=ticks: ticks.append(time.perf_counter()),
        )
        totals.append(time.perf_counter() - ticks[0])
        # The first step of a batch encodes histories, the last one appends nothing: the median is a plain step.
        gaps = torch.tensor(ticks, dtype=torch.float64).diff()
        steps.append(float(gaps.median()) * len(gaps) / sizes.horizon)
    return min(totals), min(steps), (peak_memory() - start_memory) / 1e6


def plain_step(model: Kronos, prompt: Prompt, context: int) -> None:
    reencoding.generate(model, [prompt], horizon=1, sampling=SAMPLING, max_context=context)


def floor(model: Kronos, sizes: Sizes, paths: int, machine: Machine, itemsize: int) -> tuple[float, float]:
    """Seconds of a mean step if weights and caches were only read once, and if only multiplications took time."""
    c = model.config
    layers = c.n_layers + 1
    products = sum(p.numel() for p in model.transformer.parameters() if p.ndim == 2)
    products += 3 * c.d_model**2 + sum(p.numel() for p in model.head.parameters() if p.ndim == 2)
    own = sizes.horizon / 2
    cached = (sizes.history + paths * own) * 2 * layers * c.d_model
    memory = (products + cached) * itemsize / machine.bandwidth
    operations = 2 * paths * (products + 2 * layers * c.d_model * (sizes.history + own))
    return memory, operations / machine.arithmetic


def measure_machine(words: int, side: int) -> Machine:
    """The best rates of reading `words` float32 numbers and of multiplying square matrices."""
    data, square = torch.ones(words), torch.randn(side, side)
    reading = best(lambda: data.sum(), 30)
    multiplying = best(lambda: square @ square, 8)
    return Machine(words * 4 / reading, 2 * side**3 / multiplying)


def prompt_of(model: Kronos, rows: int, horizon: int, paths: int, key: int = 0) -> Prompt:
    """A made-up series with made-up times."""
    g = torch.Generator().manual_seed(key)
    stamps = torch.stack([torch.randint(n, (rows + horizon,), generator=g) for n in (60, 24, 7, 32, 13)], dim=-1)
    s1 = torch.randint(2**model.config.s1_bits, (rows,), generator=g)
    s2 = torch.randint(2**model.config.s2_bits, (rows,), generator=g)
    return Prompt(s1, s2, stamps, path_uniforms(0, key, paths, horizon))


def best(call: Callable[[], object], repeats: int) -> float:
    """Least seconds of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def reset_peak() -> int:
    """Give freed memory back, forget the peak, and return the bytes now in use (Linux; elsewhere 0)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def peak_memory() -> int:
    """Bytes of the resident peak since `reset_peak` (Linux; elsewhere 0)."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
