"""What low-rank adapters and the heads alone save: a predictor's step time and peak memory by `mode`.

    python -m benchmarks.lora [--size small] [--batch 50] [--rows 101] [--steps 5] [--precision float32]

Each mode runs in a process of its own; the median step counts. Memory beside the weights, counted in tensors, so that
allocators do not show: "state" is gradients and the optimiser's two moments, "activations" what the forward pass keeps
for the backward pass. "peak" is measured over the steps, weights included: on CUDA the allocated memory, on a CPU
under Linux the resident memory of the process above what it had before the model.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.forecast import peak_memory, reset_peak
from chandler.nn.predictor import Kronos
from chandler.nn.presets import PREDICTORS
from chandler.training.engine.optim import make_optimizer
from chandler.training.engine.parameters import select_parameters
from chandler.training.settings.stage import LoraSettings, PredictorSettings

CASES: dict[str, dict[str, Any]] = {
    "full": {"mode": "full"},
    "lora, all projections, rank 8": {"mode": "lora"},
    "lora, q_proj and v_proj, rank 8": {"mode": "lora", "lora": LoraSettings(targets=["q_proj", "v_proj"])},
    "head": {"mode": "head"},
}


def measure(case: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Parameters trained, seconds of a step (the median, after one to warm up), megabytes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = reset_peak()
    model = Kronos(PREDICTORS[arguments.size], generator=_generator()).to(device).train()
    trained = select_parameters(model, "predictor", PredictorSettings(**CASES[case]), _generator())
    optimizer = make_optimizer(model, lr=1e-5, betas=(0.9, 0.95), weight_decay=0.1)
    shape = (arguments.batch, arguments.rows)
    s1, s2 = (torch.randint(0, 1024, shape, generator=_generator()).to(device) for _ in range(2))
    stamps = torch.ones(*shape, 5, dtype=torch.long, device=device)
    uniforms = torch.rand(shape, generator=_generator()).to(device)
    kind = torch.bfloat16 if arguments.precision == "bfloat16" else torch.float32

    def forward() -> Tensor:
        with torch.autocast(device.type, dtype=kind, enabled=kind != torch.float32):
            one, two = model(s1[:, :-1], s2[:, :-1], stamps[:, :-1], uniforms[:, 1:])
            return (_entropy(one, s1) + _entropy(two, s2)) / 2

    def step() -> None:
        forward().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 3.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = forward()
    activations = sum(kept.values())
    del loss
    reset_peak()
    times = []
    for _ in range(arguments.steps + 1):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return {
        "trained": trained.trained,
        "seconds": statistics.median(times[1:]),
        "state": 3 * 4 * trained.trained / 1e6,
        "activations": activations / 1e6,
        "peak": (torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_memory() - before) / 1e6,
    }


def _entropy(logits: Tensor, ids: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _child(case: str, arguments: argparse.Namespace, pipe: Any) -> None:
    pipe.send(measure(case, arguments))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(PREDICTORS), default="small")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--rows", type=int, default=101)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    rows = {}
    for case in CASES:
        mine, theirs = context.Pipe()
        process = context.Process(target=_child, args=(case, arguments, theirs))
        process.start()
        theirs.close()  # or a process that died would be waited for
        rows[case] = mine.recv()
        process.join()
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(
        f"Kronos-{arguments.size}, batch {arguments.batch} x {arguments.rows} rows, {arguments.precision}, "
        f"{where}, {platform.machine()}, torch {torch.__version__}"
    )
    print(
        f"{'mode':<34}{'trained':>12}{'step':>10}{'of full':>9}{'state':>10}{'activations':>13}{'peak':>11}{'of full':>9}"
    )
    full = rows["full"]
    for case, row in rows.items():
        print(
            f"{case:<34}{row['trained']:>12,}{row['seconds']:>8.2f} s{row['seconds'] / full['seconds']:>9.0%}"
            f"{row['state']:>7.0f} MB{row['activations']:>10.0f} MB"
            + (f"{row['peak']:>8,.0f} MB{row['peak'] / full['peak']:>9.0%}" if row["peak"] > 0 else "")
        )


if __name__ == "__main__":
    main()
