"""A stage's model as its processes train it: alone, copied to each of them (DDP), or cut among them (FSDP).

Whatever the way, `stage.model` inside `whole()` has all weights, and states and checkpoints are those of one process.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chandler.errors import ConfigError
from chandler.training.engine.stages import Stage

if TYPE_CHECKING:
    from accelerate import Accelerator

BLOCKS = ("Block",)
"""Classes of the modules that are gathered, or compiled, one at a time: the transformer blocks of both models."""
DECIDE = ("cpu", "cuda")
"""Devices whose fused AdamW leaves a step out by itself."""


class PreparedModel:
    """What is trained and how: here one process, or the same weights in each of them (DDP)."""

    model: nn.Module
    """What is called, and whose gradients are taken."""

    compiled = False
    """Whether its blocks are."""

    def __init__(self, stage: Stage, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> None:
        self.accelerator, self.optimizer = accelerator, optimizer
        self.model = accelerator.prepare_model(stage.model)

    def compile(self) -> None:
        """Compile the blocks, one at a time: they share what comes of it. Names in a state dict stay as they are."""
        torch.compiler.reset()  # of one function torch keeps eight results for all of a process, and stages follow one another
        for module in self.model.modules():
            if type(module).__name__ in BLOCKS:
                module.compile(dynamic=False)  # other shapes are not compiled at all, see `plain`
        self.compiled = True

    def plain(self) -> AbstractContextManager[None]:
        """Within it nothing is compiled: for batches of another shape, and for validation, each of which would be anew."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()

    def exchange(self, last: bool) -> AbstractContextManager[None]:
        """Around a batch: gradients are exchanged with the last one of a step."""
        return nullcontext() if last else self.accelerator.no_sync(self.model)

    def clip(self, limit: float) -> Tensor:
        """Scale gradients down to a norm over all weights of at most `limit`; the norm () before."""
        return nn.utils.clip_grad_norm_(self.model.parameters(), limit)

    def update(self, bad: Tensor) -> None:
        """A step of the optimiser, but where `bad` (), float32, is 1: then weights, moments and their count stay."""
        if bad.device.type in DECIDE:
            self.optimizer.found_inf, self.optimizer.grad_scale = bad, None  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bad.item():
            self.optimizer.step()

    def whole(self) -> AbstractContextManager[None]:
        """Within it `stage.model` has all weights as they are now, and is not compiled. All processes enter together."""
        return self.plain()

    def optimizer_state(self) -> dict[str, Any]:
        """The optimiser's state dict with whole tensors. All processes call it together."""
        return self.optimizer.state_dict()


class Sharded(PreparedModel):
    """Each process holds its part of weights, gradients and optimiser state; blocks are gathered as they are needed.

    For validation and saving every process gathers all weights into a replica, which waits on the CPU in between:
    what has to fit on a device is the model, not the model with its gradients and AdamW's two moments.

    FSDP2 (`torch.distributed.fsdp.fully_shard`), as accelerate's plugin is configured: accelerate itself would apply
    it on GPUs only. Gathered weights are float32; autocast works as without it.
    """

    def __init__(self, stage: Stage, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        plugin = make_plugin()
        # Torch warns of in-place changes to what a block returns; there are none in these models.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        self.stage, self.optimizer, self.device = stage, optimizer, accelerator.device
        self.model = stage.model
        stage.model = copy.deepcopy(self.model).to("cpu")
        before = [p for group in optimizer.param_groups for p in group["params"]]
        names = {id(p): name for name, p in self.model.named_parameters()}
        mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
        for module in list(self.model.modules()):
            if type(module).__name__ in plugin.transformer_cls_names_to_wrap:
                fully_shard(module, mesh=mesh, reshard_after_forward=plugin.reshard_after_forward)
        fully_shard(self.model, mesh=mesh)
        cut = dict(self.model.named_parameters())
        self._hand_over({p: cut[names[id(p)]] for p in before})

    def _hand_over(self, parts: dict[Any, Any]) -> None:
        """Let the optimiser go on with the parts of the parameters it had, and with its state cut like them."""
        state: Any = defaultdict(dict)
        for whole, part in parts.items():
            if whole in self.optimizer.state:
                entries = self.optimizer.state[whole].items()
                state[part] = {k: _cut(v, part) if v.shape == whole.shape else v.to(part.device) for k, v in entries}
        self.optimizer.state = state
        for group in self.optimizer.param_groups:
            group["params"] = [parts[p] for p in group["params"]]

    def exchange(self, last: bool) -> AbstractContextManager[None]:
        self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
        return nullcontext()

    def clip(self, limit: float) -> Tensor:
        return _full(nn.utils.clip_grad_norm_(self.model.parameters(), limit))

    def update(self, bad: Tensor) -> None:
        if not bad.item():  # the fused kernel takes no flag beside cut weights
            self.optimizer.step()

    @contextmanager
    def whole(self) -> Iterator[None]:
        replica = self.stage.model.to(self.device)
        with torch.no_grad():
            for part, parameter in zip(self.model.parameters(), replica.parameters(), strict=True):
                if part.requires_grad:
                    parameter.copy_(_full(part.detach()))
        try:
            yield
        finally:
            replica.to("cpu")

    def optimizer_state(self) -> dict[str, Any]:
        state = self.optimizer.state_dict()
        whole = {place: {k: _full(v).cpu() for k, v in entry.items()} for place, entry in state["state"].items()}
        return {**state, "state": whole}


def _full(tensor: Tensor) -> Tensor:
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _cut(tensor: Tensor, like: Any) -> Tensor:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


def is_sharded(accelerator: Accelerator, distributed: str) -> bool:
    """Whether a model is cut among processes. It is then loaded on the CPU, and brought to the device in parts."""
    return distributed == "fsdp" and accelerator.num_processes > 1


def prepare_model(
    stage: Stage, optimizer: torch.optim.Optimizer, accelerator: Accelerator, distributed: str
) -> PreparedModel:
    """Ready a stage's model and its optimiser for the processes of the run: `distributed` is "ddp" or "fsdp"."""
    if is_sharded(accelerator, distributed):
        return Sharded(stage, optimizer, accelerator)
    return PreparedModel(stage, optimizer, accelerator)


def make_plugin() -> Any:
    """accelerate's FSDP settings: version 2, our blocks, the rest as its environment variables say.

    Raises:
        ConfigError: settings that cannot be followed here.
    """
    from accelerate import FullyShardedDataParallelPlugin

    if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() in ("true", "1"):
        raise ConfigError(
            "distributed: fsdp cannot keep weights on the CPU. Unset FSDP_OFFLOAD_PARAMS; gradient_checkpointing: true "
            "and a smaller batch_size save memory as well."
        )
    return FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", transformer_cls_names_to_wrap=list(BLOCKS)
    )
