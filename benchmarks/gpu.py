"""Everything that an accelerator is for, measured within minutes: `make bench-gpu`, on a machine with CUDA and no environment.

    python -m benchmarks.gpu --sections train,forecast      # some of: train, forecast, many, precision
    python -m benchmarks.gpu --tiny --device cpu            # smallest sizes anywhere, only to see that it runs

Rows are printed as they are measured, in Markdown. A case that fails or takes too long costs itself alone.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

import chandler
from benchmarks import precision
from benchmarks.device import Bench, OutOfTime, limit, one_line, say
from benchmarks.gpu_forecast import forecast, many
from benchmarks.gpu_train import train

SEEDS = 3


def ends(bench: Bench) -> None:
    """Where float32 and bfloat16 end from the same start: what `make bench-precision` does."""
    smallest = ["data.windows_per_epoch=4", "data.validation_stride=400"]
    smallest += [f"{stage}.{key}" for stage in ("tokenizer", "predictor") for key in ("epochs=1", "batch_size=2")]
    overrides = [f"device={bench.device}", "data.device=auto", *(smallest if bench.tiny else [])]
    precision.compare(["predictor", "tokenizer"], ["bfloat16"], 1 if bench.tiny else SEEDS, overrides, bench.left)


SECTIONS: dict[str, tuple[Callable[[Bench], None], float]] = {
    "train": (train, 230.0),
    "forecast": (forecast, 85.0),
    "many": (many, 95.0),
    "precision": (ends, 85.0),
}
"""What there is, and the seconds that each may take at most."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", default=",".join(SECTIONS), help="in this order")
    parser.add_argument("--seconds", type=float, default=450.0, help="for everything")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="smallest sizes, only to see that it runs")
    options = parser.parse_args(arguments)
    chosen = options.sections.split(",")
    if unknown := [name for name in chosen if name not in SECTIONS]:
        parser.error(f"--sections: {', '.join(unknown)} not known; there are {', '.join(SECTIONS)}")
    bench = Bench(torch.device(options.device), options.tiny)
    if bench.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here. To see that it runs: --tiny --device cpu")
    end = time.monotonic() + options.seconds
    failed = 0
    say(machine(bench))
    ceilings(bench)
    for name in chosen:
        section, most = SECTIONS[name]
        begun = time.monotonic()
        bench.end = min(begun + most, end)
        say(f"\n## {name}\n")
        try:
            with limit(bench.left()):
                section(bench)
        except OutOfTime:
            say(f"\n{name}: out of time.")
        except Exception as error:
            failed = 1
            say(f"\n{name}: failed: {one_line(error)}")
        say(f"\n({name}: {time.monotonic() - begun:.0f} s)")
        with suppress(Exception):  # after an error of the device itself
            bench.forget_peak()
    return failed


def machine(bench: Bench) -> str:
    """Card, driver and versions in one line."""
    card = platform.processor() or platform.machine()
    if bench.device.type == "cuda":
        card = f"{torch.cuda.get_device_name(bench.device)}, driver {driver()}, CUDA {torch.version.cuda}"
    return (
        f"{card}; torch {torch.__version__}, Python {platform.python_version()}, chandler {chandler.__version__}, "
        f"{torch.get_num_threads()} threads"
    )


def driver() -> str:
    """Version of the driver, as nvidia-smi has it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.split("\n")[0]
    return "unknown"


def ceilings(bench: Bench) -> None:
    """Measure what nothing can be faster than: copies and products."""
    words, side = (1 << 20, 256) if bench.tiny else (1 << 28, 8192)
    pair = [torch.ones(words, device=bench.device) for _ in range(2)]
    seconds = bench.median(lambda: pair[0].copy_(pair[1]), group=5, warmup=3)
    say(f"copies: {2 * 4 * words / seconds / 1e9:,.0f} GB/s read and written")
    pair.clear()
    for name, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        a, b = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
        seconds = bench.median(lambda a=a, b=b: a @ b, group=5, warmup=3, seconds=2.0)
        bench.rates[name] = 2 * side**3 / seconds
        say(f"product {side}^3 in {name}: {bench.rates[name] / 1e12:,.2f} TFLOP/s")
    say(f'products in float32: "{torch.get_float32_matmul_precision()}" precision')


if __name__ == "__main__":
    sys.exit(main())
