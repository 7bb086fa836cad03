"""The parameters of a model under their released names, whichever way they are stored in memory.

A joint matrix (q, k, v) is several released parameters; here each of them is a `Part`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn

from chandler.nn.layers import JointParameters


@dataclass(frozen=True)
class Part:
    """One released parameter: all of an own parameter, or one of the equal parts stacked in a joint one."""

    name: str
    """As in model.safetensors: "transformer.0.self_attn.q_proj.weight"."""
    owner: nn.Module
    owner_name: str
    own: str
    """Name of the parameter within its owner: "in_proj_weight"."""
    index: int
    count: int
    """Which of how many equal parts along the first axis."""

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter in memory; several parts share a joint one."""
        parameter = getattr(self.owner, self.own)
        assert isinstance(parameter, nn.Parameter)
        return parameter

    @property
    def tensor(self) -> Tensor:
        """This part's rows, a view without gradient."""
        return self.parameter.detach().chunk(self.count)[self.index]

    @property
    def projection(self) -> str | None:
        """The released name of the projection whose weight this is; None for biases, norms and embeddings."""
        linear = isinstance(self.owner, nn.Linear | JointParameters)
        return self.name.removesuffix(".weight") if linear and self.parameter.ndim == 2 else None


def released_parts(model: nn.Module) -> list[Part]:
    """Every released parameter of a model, in the order of its modules; adapters are none."""
    found = []
    for owner_name, owner in model.named_modules():
        if ".lora." in f".{owner_name}.":
            continue
        prefix = f"{owner_name}." if owner_name else ""
        joint = owner.released_parts if isinstance(owner, JointParameters) else {}
        for own, _ in owner.named_parameters(recurse=False):
            names = joint.get(own, (own,))
            for index, name in enumerate(names):
                found.append(Part(prefix + name, owner, owner_name, own, index, len(names)))
    return found


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a pattern (`*`, `?`, `[0-5]`) fits a name, or a module that holds it: "transformer.0" fits all in it."""
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*") for pattern in patterns)
