"""What benchmarks on an accelerator share: clocks that wait for the device, limits by the clock, and cases that may fail."""

from __future__ import annotations

import gc
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch


class OutOfTime(BaseException):
    """A limit by the clock is over. No `Exception`: nothing on the way takes it for a failure of its own."""


@dataclass
class Bench:
    """One run of the benchmark: where, how much, and until when."""

    device: torch.device
    tiny: bool = False
    """Smallest sizes, only to see that it runs."""
    rates: dict[str, float] = field(default_factory=dict)
    """FLOP/s of a large product by precision, measured here and now."""
    end: float = float("inf")
    """When the section is over, by `time.monotonic`."""

    def left(self) -> float:
        """Seconds of the section."""
        return self.end - time.monotonic()

    def synchronize(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def forget_peak(self) -> None:
        """Give freed memory back and begin to count anew."""
        if self.device.type == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> str:
        """GB that were in use at most since `forget_peak`."""
        return f"{torch.cuda.max_memory_allocated(self.device) / 1e9:.2f}" if self.device.type == "cuda" else "-"

    def median(
        self, step: Callable[[], Any], *, group: int = 1, groups: int = 5, warmup: int = 1, seconds: float = 5.0
    ) -> float:
        """Median seconds of a step, over groups of steps with a wait at the end of each; fewer groups where the clock
        says so."""
        for _ in range(warmup):
            step()
        self.synchronize()
        taken: list[float] = []
        stop = time.monotonic() + min(seconds, self.left())
        while len(taken) < groups and (not taken or time.monotonic() < stop):
            begun = time.perf_counter()
            for _ in range(group):
                step()
            self.synchronize()
            taken.append((time.perf_counter() - begun) / group)
        return statistics.median(taken)

    @contextmanager
    def case(self, label: str) -> Iterator[None]:
        """A case that may fail without an end to the others; its memory is given back."""
        self.forget_peak()
        try:
            yield
        except Exception as error:
            say(f"| {label} | failed: {one_line(error)} |")


def say(text: str = "") -> None:
    """Print at once: who is cut off keeps what was measured."""
    print(text, flush=True)


def one_line(error: BaseException) -> str:
    """Class and message of an error, short enough for a row."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """OutOfTime within the block after so many seconds (Unix, main thread)."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, ring)
    # Again every few seconds: what is raised while Python clears up after an object is lost.
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001), 5.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
