"""Devices and processes: one plain process, or one per device under torchrun; the rest of the code need not know."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor

from chandler.devices import resolve
from chandler.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator


def make_accelerator(
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "float32",
    trackers: Sequence[str] = (),
    logging_dir: str | Path | None = None,
    distributed: Literal["ddp", "fsdp"] = "ddp",
) -> Accelerator:
    """The process's accelerator: joins the process group when started by torchrun (nccl on GPUs, gloo on CPU).

    `device` is as in `devices.resolve`; of several processes each takes the CUDA device of its own number, and may not
    be given one. `precision` auto is bfloat16 where the device computes in it. `trackers` are started later; those that write
    files do so in `logging_dir`.

    Raises:
        ConfigError: the device asked for is not there; or accelerate was told to use FSDP, and the settings say ddp.
    """
    place = own_device(device)
    # Models are cut in `fsdp`, on any device; to accelerate itself these are plain processes.
    if os.environ.pop("ACCELERATE_USE_FSDP", "false").lower() == "true" and distributed != "fsdp":
        raise ConfigError("accelerate was configured for FSDP, and the settings say otherwise. Set distributed: fsdp.")
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import (
        AutocastKwargs,
        DistributedDataParallelKwargs,
        ProjectConfiguration,
        patch_environment,
    )

    cpu = place.type == "cpu"
    opens = not dist.is_initialized()
    if opens:
        _rejoin("gloo" if cpu else "nccl")
    # accelerate remembers its first precision and device for the whole process; a second run may want others.
    AcceleratorState._reset_state(reset_partial_state=opens)
    _groups.seen += opens or not _groups.seen
    _groups.ours = _groups.ours or opens
    # Among processes of torchrun accelerate counts devices itself, to the same end.
    with patch_environment(**({} if "LOCAL_RANK" in os.environ else {"ACCELERATE_TORCH_DEVICE": place})):
        return Accelerator(
            cpu=cpu,
            mixed_precision="bf16"
            if precision == "bfloat16" or (precision == "auto" and has_bfloat16(place))
            else "no",
            step_scheduler_with_optimizer=False,
            log_with=["comet_ml" if name == "comet" else name for name in trackers] or None,
            project_config=ProjectConfiguration(logging_dir=str(logging_dir) if logging_dir else None),
            # Casts of weights are not kept: a captured step would go on with those of its capture, and none is used twice.
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True),
                AutocastKwargs(cache_enabled=False),
            ],
        )


def has_bfloat16(device: torch.device) -> bool:
    """Whether a CUDA device computes in bfloat16; older ones emulate it, slower than float32."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def precision_of(accelerator: Accelerator) -> str:
    """What is computed in: "float32" or "bfloat16"."""
    return "bfloat16" if accelerator.mixed_precision == "bf16" else "float32"


def own_device(device: str) -> torch.device:
    """The device of this process: `device` resolved, with the process's own number where torchrun started several.

    Raises:
        ConfigError: as `devices.resolve`; or one device for several processes.
    """
    number = os.environ.get("LOCAL_RANK")
    if number is None or device == "cpu":
        return resolve(device)
    if ":" in device:
        raise ConfigError(f"device: {device} is one device, and torchrun starts a process for each. Use device: auto.")
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return resolve(f"cuda:{int(number) % torch.cuda.device_count()}")
    return resolve(device)


@dataclass
class _Groups:
    """How many process groups this process has had, and whether the open one was opened here."""

    seen: int = 0
    ours: bool = False


_groups = _Groups()


def _rejoin(backend: str) -> None:
    """After a restart by torchrun, and after an earlier group of this process, meet the others under a new name.

    The store that torchrun keeps for its workers still holds the addresses of the group before, and the gloo
    backend would call those.
    """
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    first = attempt == "0" and not _groups.seen
    if first or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return
    rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    store = dist.TCPStore(*address, ranks, is_master=False)  # type: ignore[attr-defined]
    named = dist.PrefixStore(f"attempt-{attempt}-group-{_groups.seen}", store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=named, rank=rank, world_size=ranks)


class LostContact(TrainingError):
    """Another process of the run has ended: what this one met says nothing of why."""


@contextmanager
def report_lost_processes(accelerator: Accelerator) -> Iterator[None]:
    """Turn the communication failure that follows another process's end into a `LostContact`."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
        if accelerator.num_processes == 1 or not lost:
            raise
        raise LostContact(
            f"process {accelerator.process_index} of {accelerator.num_processes} lost contact: another process of this "
            "run has ended (its message, if it left one, stands above). What was saved is intact. Go on with "
            "resume=True, as torchrun --max-restarts does by itself where the command says so."
        ) from error


class _SumOverRanks(torch.autograd.Function):
    """All-reduce with SUM, forward and backward: each rank's input moves the loss of every rank."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def mean_over_ranks(accelerator: Accelerator, share: float) -> Callable[[Tensor], Tensor]:
    """A differentiable weighted mean over processes; `share` is this rank's part of the global batch."""
    if accelerator.num_processes == 1:
        return lambda x: x
    return lambda x: cast(Tensor, _SumOverRanks.apply(x * share))


def sum_over_ranks(accelerator: Accelerator, values: Tensor) -> Tensor:
    """Sum a tensor over processes (no gradient); it may be on any device."""
    if accelerator.num_processes > 1:
        values = values.to(accelerator.device)
        dist.all_reduce(values, op=dist.ReduceOp.SUM)
    return values


def max_over_ranks(accelerator: Accelerator, value: int) -> int:
    """The largest value over processes, so that all of them decide alike."""
    if accelerator.num_processes == 1:
        return value
    shared = torch.tensor([value], device=accelerator.device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return int(shared.item())


def close(accelerator: Accelerator) -> None:
    """Leave the process group in step, so that no rank tears down what another still uses; one that the caller had
    opened stays."""
    if accelerator.num_processes > 1 and dist.is_initialized():
        accelerator.wait_for_everyone()
        if _groups.ours:
            dist.destroy_process_group()
            _groups.ours = False


def leave(code: int) -> None:
    """End a distributed process at once, after its output is flushed.

    Communication threads of the gloo backend are sometimes still joinable while the interpreter finalises, and
    the process then aborts although all work is done. Everything is on disk here, so finalisation is skipped.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
