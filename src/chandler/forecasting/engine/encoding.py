"""Turns normalised bars into token ids: many histories go through the encoder together where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from chandler.devices import device_of, upload
from chandler.forecasting.engine.kernels import suits_cpu
from chandler.forecasting.engine.memory import MOST_ROWS, MOST_SEQUENCES, block_bytes, default_budget, grouped
from chandler.forecasting.engine.prompts import eval_mode
from chandler.nn import KronosTokenizer


@torch.no_grad()
def encode_histories(
    tokenizer: KronosTokenizer,
    windows: Sequence[Tensor],
    *,
    memory_budget: int | None = None,
    encoded: Callable[[int], None] | None = None,
) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """The tokens of normalised histories, each scaled by its own rows.

    On a CPU one history passes at a time: which side of 0 a bit falls on does not depend on the company there, and company
    would bring no speed. On an accelerator many pass at once, shorter ones padded at their end, where no block looks from a
    true row; sums may round otherwise in the last bit in other company, so a bit may turn where the encoder's output is 0
    up to that.

    Args:
        tokenizer: held in eval mode for the duration.
        windows: (T, 6) float32 on the CPU, T >= 1, of any lengths.
        memory_budget: bytes for what passes at once on an accelerator, beside the model; by default half of what is
            free there. One history passes whatever it is.
        encoded: called with a number of rows when they have been handed to the device, with each row once.

    Returns:
        Per window, in order, ids (s1, s2), each (T,) int64, where the tokenizer is. And there, a bool: whether all that was
        encoded were numbers. A NaN has a sign like any other, so it is to be asked (`require_finite`); here that would make the
        host wait for the device.
    """
    device = device_of(tokenizer)
    ids: list[tuple[Tensor, Tensor] | None] = [None] * len(windows)
    total = torch.zeros((), device=device)
    with eval_mode(tokenizer):
        for chunk in _chunks(tokenizer, [len(window) for window in windows], device, memory_budget):
            x = pad_sequence([windows[index] for index in chunk], batch_first=True)
            unit = tokenizer.unit(upload(x, device))
            total += unit.sum(dtype=torch.float32)
            both = tokenizer.ids(unit)
            for index, s1, s2 in zip(chunk, *both, strict=True):
                rows = len(windows[index])
                ids[index] = s1[:rows], s2[:rows]
            if encoded is not None:
                encoded(sum(len(windows[index]) for index in chunk))
    return [one for one in ids if one is not None], total.isfinite()


def _chunks(
    tokenizer: KronosTokenizer, lengths: Sequence[int], device: torch.device, budget: int | None
) -> Iterator[list[int]]:
    """Which windows pass together: those of similar lengths, within a number of rows and bytes."""
    if suits_cpu(device):
        yield from ([index] for index in range(len(lengths)))
        return
    budget = default_budget(device) if budget is None else budget

    def fits(chunk: list[int], index: int) -> bool:
        # The longest, which all are padded to, comes last.
        together, rows = len(chunk) + 1, lengths[index]
        within = together * block_bytes(tokenizer.config, rows, rows) <= budget
        return within and together * rows <= MOST_ROWS and together <= MOST_SEQUENCES

    yield from grouped(sorted(range(len(lengths)), key=lengths.__getitem__), fits)
