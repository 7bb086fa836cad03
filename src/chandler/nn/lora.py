"""Low-rank adapters (Hu et al. 2021): W x + alpha / rank * up(down(x)) beside frozen weights, mergeable into them.

The released names do not change: adapters sit beside the projections and vanish when they are merged.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from chandler.errors import CheckpointError, ConfigError
from chandler.nn.functional import Dropout
from chandler.nn.layers import JointParameters
from chandler.nn.released import Part, matches, released_parts

ADAPTER_WEIGHTS = "adapter.safetensors"
ADAPTER_CONFIG = "adapter.json"
Model = TypeVar("Model", bound=nn.Module)


class LowRank(nn.Module):
    """What an adapter adds to a projection: alpha / rank * up(down(dropout(x))); exactly 0 when it is new."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.rank, self.alpha, self.scale = rank, alpha, alpha / rank
        self.dropout = Dropout(dropout)
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        bound = 1 / math.sqrt(inputs)
        nn.init.uniform_(self.down, -bound, bound, generator=generator)

    def forward(self, x: Tensor, out: Tensor) -> Tensor:
        """x (..., inputs), the input of the projection, and out (..., outputs), what it gave -> their sum."""
        inner = F.linear(self.dropout(x), self.down) * self.scale
        # One operation for product and sum: less memory traffic than two.
        return torch.addmm(out.flatten(0, -2), inner.flatten(0, -2), self.up.t()).view(out.shape)

    def delta(self) -> Tensor:
        """The same as a matrix (outputs, inputs): what merging adds to the weight."""
        return (self.up.detach() @ self.down.detach()) * self.scale


class AdaptedLinear(nn.Linear):
    """A linear layer with an adapter; weight and bias are those of `linear`, under their names."""

    def __init__(self, linear: nn.Linear, lora: LowRank) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias, self.lora = linear.weight, linear.bias, lora

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in_features) -> (..., out_features)."""
        return self.lora(x, F.linear(x, self.weight, self.bias))


def projections(model: nn.Module) -> dict[str, Part]:
    """The weights that can have an adapter, by the released name of their projection."""
    return {part.projection: part for part in released_parts(model) if part.projection is not None}


def add_adapters(
    model: nn.Module,
    targets: Sequence[str],
    *,
    but: Sequence[str] = (),
    rank: int,
    alpha: float,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[str]:
    """Put a new adapter beside each projection that a target names (in place); which ones these are.

    Args:
        targets: patterns over released names; "q_proj" means every projection of that name, "transformer.0.*" all
            of the first block. Parameters keep their `requires_grad`.
        but: patterns over released parameter names; a projection whose weight fits one gets none.
        rank: inner width of the adapters.
        alpha: adapters count alpha / rank.
        dropout: of the adapters' input, in training.
        generator: where the first weights come from.

    Raises:
        ConfigError: a target that names no projection.
    """
    known = projections(model)
    chosen: dict[str, Part] = {}
    for target in targets:
        found = {
            name: part
            for name, part in known.items()
            if matches(name, [target]) or matches(name.rpartition(".")[2], [target])
        }
        if not found:
            kinds = ", ".join(dict.fromkeys(name.rsplit(".", 1)[-1] for name in known))
            raise ConfigError(
                f"lora target {target!r} names no projection. There are {kinds}; a pattern over whole names also "
                f"does, for example {next(iter(known))!r}."
            )
        chosen |= found
    ordered = [name for name, part in known.items() if name in chosen and not matches(part.name, but)]
    for name in ordered:
        outputs, inputs = known[name].tensor.shape
        lora = LowRank(inputs, outputs, rank=rank, alpha=alpha, dropout=dropout, generator=generator)
        _attach(model, known[name], lora)
    return ordered


def _attach(model: nn.Module, part: Part, lora: LowRank) -> None:
    lora.to(part.parameter.device)
    if isinstance(part.owner, JointParameters):
        if part.owner.lora is None:
            part.owner.lora = nn.ModuleDict()
        part.owner.lora[part.name.split(".")[-2]] = lora
    else:
        assert isinstance(part.owner, nn.Linear)
        parent, _, name = part.owner_name.rpartition(".")
        setattr(model.get_submodule(parent), name, AdaptedLinear(part.owner, lora))


def adapters(model: nn.Module) -> dict[str, LowRank]:
    """The adapters of a model by the released name of their projection."""
    found: dict[str, LowRank] = {}
    for name, module in model.named_modules():
        if isinstance(module, AdaptedLinear):
            found[name] = module.lora
        elif isinstance(module, JointParameters) and module.lora is not None:
            found |= {f"{name}.{part}": lora for part, lora in module.lora.items() if isinstance(lora, LowRank)}
    return found


def merged(model: Model) -> Model:
    """A model without adapters that computes the same: their product is added to the weights.

    `model` is a tokenizer or predictor, as adapters sit in it. Without adapters it comes back itself; otherwise a new
    one of its class and config does, in eval mode, which shares the other weights.
    """
    found = adapters(model)
    if not found:
        return model
    build: Any = type(model)
    state = {name: tensor for name, tensor in model.state_dict().items() if ".lora." not in name}
    for name, lora in found.items():
        state[f"{name}.weight"] = state[f"{name}.weight"] + lora.delta()
    with torch.device("meta"):
        plain: Model = build(model.config)
    plain.load_state_dict(state, assign=True)
    return plain.eval()


def save_adapters(model: nn.Module, folder: Path) -> None:
    """Write the adapters alone into an existing folder: adapter.safetensors and adapter.json.

    Tensors are named as in other LoRA tools: PROJECTION.lora_A.weight (rank, inputs), PROJECTION.lora_B.weight
    (outputs, rank).
    """
    found = adapters(model)
    tensors = {}
    for name, lora in found.items():
        tensors[f"{name}.lora_A.weight"] = lora.down.detach().cpu().contiguous()
        tensors[f"{name}.lora_B.weight"] = lora.up.detach().cpu().contiguous()
    save_file(tensors, folder / ADAPTER_WEIGHTS)
    first = next(iter(found.values()))
    config = {"rank": first.rank, "alpha": first.alpha, "projections": list(found)}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def load_adapters(model: nn.Module, folder: str | Path) -> list[str]:
    """Put saved adapters beside the projections of the model that they were trained on (in place); their names.

    `merged(model)` then equals the checkpoint that was saved with them.

    Raises:
        CheckpointError: files that are missing, damaged, or belong to another architecture.
    """
    folder = Path(folder)
    try:
        config = json.loads((folder / ADAPTER_CONFIG).read_text())
        tensors = load_file(folder / ADAPTER_WEIGHTS)
        names, rank, alpha = list(config["projections"]), int(config["rank"]), float(config["alpha"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: no adapters can be read there ({error}). Give the folder that holds {ADAPTER_CONFIG} and "
            f"{ADAPTER_WEIGHTS} (in a run folder: adapters/predictor or adapters/tokenizer)."
        ) from error
    known, made = projections(model), {}
    for name in names:
        down, up = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
        outputs, inputs = known[name].tensor.shape if name in known else (0, 0)
        if down is None or up is None or down.shape != (rank, inputs) or up.shape != (outputs, rank):
            raise CheckpointError(
                f"{folder}: the adapter of {name} does not fit this model. Load them beside the model that they were "
                "trained on."
            )
        made[name] = LowRank(inputs, outputs, rank=rank, alpha=alpha)
        made[name].down.data.copy_(down)
        made[name].up.data.copy_(up)
    for name, lora in made.items():
        _attach(model, known[name], lora)
    return names
