"""A Kronos predictor laid out for generation: weights folded and packed once per call, rows of a matrix in, rows out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.devices import fused_kernels
from chandler.errors import ConfigError
from chandler.nn import Attention, Block, DependencyPositions, Kronos, RMSNorm, Rotary

Attend = Callable[[int, Tensor], Tensor]
"""(layer, qkv (rows, 3, heads, head_width)) -> (rows, heads * head_width): the attention of new rows."""

_PACK_HINT = 128
"""Rows that float32 weights are packed for; any number of rows may be multiplied with them."""
_INT8_STEPS = 63
"""Of int8 weights to either side. Processors without VNNI add two neighbouring products in 16 bits, and bytes of rows reach
255: with 127 steps such a sum would be cut off, with 63 it is exact and every processor has the same."""
DEPENDENCY_HEADS = 4
HEAD_MULTIPLE = 16


def suits_cpu(device: torch.device) -> bool:
    """Whether to take what is fastest on a CPU. The other way runs anywhere: on a CPU too, where a test answers no."""
    return device.type == "cpu"


@cache
def packs(dtype: torch.dtype) -> bool:
    """Whether weights can be laid out beforehand on this CPU: by MKL for float32, by oneDNN for bfloat16, by FBGEMM for int8.

    `F.linear` does it anew in every call, which at few rows costs more than the product. The operators are torch's
    own (its compiler emits them) but not its public API: believe what they compute.
    """
    if dtype == torch.bfloat16 and not torch.backends.mkldnn.enabled:
        return False
    weight, rows = torch.arange(12.0).view(3, 4), torch.arange(20.0).view(5, 4)
    try:
        if dtype == torch.int8:
            made = _int8_product(rows, _pack_int8(weight), None)
        else:
            made = _packed_product(rows.to(dtype), _pack(weight.to(dtype)), _shape_only(weight), None).float()
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(made, rows @ weight.T, rtol=1e-2)


def _pack(weight: Tensor) -> Tensor:
    if weight.dtype == torch.float32:
        return torch.ops.mkl._mkl_reorder_linear_weight.default(weight.contiguous(), _PACK_HINT)
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 1)  # for one row: as fast as any for many


def _shape_only(weight: Tensor) -> Tensor:
    """Something with the shape of `weight` and no memory: MKL's packed product asks for nothing else."""
    return weight.new_zeros(1, 1).expand(weight.shape)


def _packed_product(x: Tensor, packed: Tensor, shape: Tensor, bias: Tensor | None) -> Tensor:
    if x.dtype == torch.float32:
        return torch.ops.mkl._mkl_linear.default(x, packed, shape, bias, x.shape[0])
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


def _pack_int8(weight: Tensor) -> Any:
    """Whole steps of the largest weight of each output, as FBGEMM reads them."""
    scale = (weight.abs().amax(1) / _INT8_STEPS).clamp_min_(1e-30)
    steps = (weight / scale[:, None]).round_().to(torch.int8)
    engine = torch.backends.quantized.engine
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")  # this way in will go in a later torch
        quantised = torch._make_per_channel_quantized_tensor(steps, scale.double(), torch.zeros(len(scale)).long(), 0)
    torch.backends.quantized.engine = "fbgemm"
    try:
        return torch.ops.quantized.linear_prepack(quantised, None)
    finally:
        torch.backends.quantized.engine = engine


def _int8_product(x: Tensor, packed: Any, bias: Tensor | None) -> Tensor:
    """Rows in steps of their own largest number: what becomes of a row does not depend on its company."""
    most = torch.linalg.vector_norm(x, torch.inf, -1, keepdim=True).clamp_min_(1e-30)
    y = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(x / most, 1 / 127, 128, packed)
    return y.mul_(most) if bias is None else torch.addcmul(bias, y, most)


class Linear:
    """y = x W^T + b on rows x (rows, in) -> (rows, out).

    With int8 weights rows are float32, in and out; for CPUs that `packs` it alone.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        self.int8 = _pack_int8(weight.float()) if dtype == torch.int8 else None
        if self.int8 is not None:
            self.bias = None if bias is None else bias.float()
            return
        self.bias = None if bias is None else bias.to(dtype).contiguous()
        self.weight, self.shape = weight.to(dtype).contiguous(), _shape_only(weight)
        self.packed = suits_cpu(weight.device) and packs(dtype)
        if self.packed:
            self.weight = _pack(self.weight)

    def __call__(self, x: Tensor) -> Tensor:
        if self.int8 is not None:
            return _int8_product(x.contiguous(), self.int8, self.bias)
        if self.packed:
            return _packed_product(x.contiguous(), self.weight, self.shape, self.bias)
        return F.linear(x, self.weight, self.bias)


class Layer:
    """One transformer block. The norms' weights and the attention scale are folded into what follows them."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        attention, ffn = block.self_attn, block.ffn
        weight, bias = attention.in_proj_weight.float(), attention.in_proj_bias.float()
        weight, bias = _prepare_qkv(attention, weight * _unit_scale(block.norm1), bias)
        self.qkv = Linear(weight, bias, dtype)
        self.out = Linear(_read_padded(attention), attention.out_proj.bias, dtype)
        self.up = Linear(ffn.gate_up_weight.float() * _unit_scale(block.norm2), None, dtype)
        self.down = Linear(ffn.w2.weight, None, dtype)


def _unit_scale(norm: RMSNorm) -> Tensor:
    """What `GenerationWeights.unit` of a row is multiplied with to become the norm's output."""
    on_cpu = suits_cpu(norm.weight.device)  # there a row of length 1: x / rms(x) = sqrt(dim) x / |x|
    return norm.weight.float() * (norm.weight.numel() ** 0.5 if on_cpu else 1.0)


def head_width(head_dim: int, device: torch.device) -> int:
    """Numbers that a head has in memory. Kernels of accelerators are several times slower on heads of an odd width, such as
    the 52 of Kronos-base: there they are padded with zeros, which change no product."""
    return head_dim if suits_cpu(device) else -(-head_dim // HEAD_MULTIPLE) * HEAD_MULTIPLE


def _read_padded(attention: Attention) -> Tensor:
    """The weight that what heads have read is multiplied with, (dim, heads * head_width)."""
    weight, width = attention.out_proj.weight, attention.head_dim
    more = head_width(width, weight.device) - width
    return F.pad(weight.unflatten(1, (-1, width)), (0, more)).flatten(1) if more else weight


def _prepare_qkv(attention: Attention, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Scale queries by 1/sqrt(head_dim), pair up the halves of every query and key head, pad heads to `head_width`.

    Rotary turns coordinate i with coordinate i + head_dim / 2. Side by side they are one complex number, and the
    rotation one multiplication; scores do not mind, since queries and keys are reordered alike.
    """
    heads, width = attention.n_heads, attention.head_dim
    weight = weight.unflatten(0, (3, heads, 2, width // 2)).clone()
    bias = bias.unflatten(0, (3, heads, 2, width // 2)).clone()
    weight[0] *= width**-0.5
    bias[0] *= width**-0.5
    weight[:2] = weight[:2].transpose(2, 3).reshape_as(weight[:2]).clone()
    bias[:2] = bias[:2].transpose(2, 3).reshape_as(bias[:2]).clone()
    more = head_width(width, weight.device) - width
    weight, bias = weight.flatten(2, 3), bias.flatten(2)
    if more:
        weight, bias = F.pad(weight, (0, 0, 0, more)), F.pad(bias, (0, more))
    return weight.flatten(0, 2), bias.flatten()


def rotation(rotary: Rotary, length: int) -> Tensor:
    """Unit complex numbers (length, head_width / 2) that turn a pair of coordinates at each position."""
    cos, sin = rotary(length)
    half = cos.shape[-1] // 2
    turn = torch.complex(cos[:, :half], sin[:, :half])
    more = head_width(2 * half, turn.device) // 2 - half
    return torch.cat((turn, turn.new_ones(length, more)), 1) if more else turn


def turn_pairs_(x: Tensor, turn: Tensor, heads: int) -> None:
    """Turn the first `heads` heads of x (rows, some), halves of heads paired up, in place; float32 inside.

    Args:
        turn: a number for every pair, as `GenerationWeights.turns` lays them out.
    """
    turned = (
        x[:, : 2 * turn.shape[-1]] if turn.ndim == 2 else x[:, : 2 * heads * turn.shape[-1]].unflatten(1, (heads, -1))
    )
    if x.dtype == torch.float32:
        turned.view(torch.complex64).mul_(turn)
    else:
        turned.copy_((turned.float().view(torch.complex64) * turn).view(torch.float32))


def _tensors(part: Any) -> Iterator[Tensor]:
    """The tensors of a layout, in their order."""
    for name, value in vars(part).items():
        if isinstance(value, Tensor) and name != "shape":  # that has none of its own
            yield value
        elif isinstance(value, Linear | Layer | list):
            for one in value if isinstance(value, list) else [value]:
                yield from _tensors(one)


class GenerationWeights:
    """Everything of the predictor that generation reads.

    Folding and packing copies all weights once (Kronos-small 92 MB in float32); it is done for each call of the
    engine, so weights that changed in between are always noticed.
    """

    def __init__(
        self,
        model: Kronos,
        *,
        dtype: torch.dtype,
        positions: DependencyPositions,
        max_positions: int,
        fused: bool = False,
    ) -> None:
        c = model.config
        self.dim, self.ff_dim, self.n_heads = c.d_model, c.ff_dim, c.n_heads
        self.device = model.head.proj_s1.weight.device
        self.on_cpu = suits_cpu(self.device)
        self.fused: Any = fused_kernels(self.device) if fused else None
        """Kernels that take the place of several of torch's operators; None: those."""
        if dtype == torch.int8 and not (self.on_cpu and packs(dtype)):
            raise ConfigError(
                f"int8 weights are for CPUs that torch multiplies with them on (x86), the predictor is on "
                f'{self.device}. Use precision="float32" or precision="bfloat16".'
            )
        cast = {p.dtype for p in model.parameters() if p.dtype.itemsize < 4}
        if cast:
            raise ConfigError(
                f"the weights of this predictor are {str(cast.pop()).removeprefix('torch.')}: forecasts begin with float32 and "
                'round by themselves. Load it again, and choose precision="bfloat16" of the forecast.'
            )
        self.dtype = torch.float32 if dtype == torch.int8 else dtype
        """Of the rows that are multiplied with the blocks' weights."""
        self.pad = 32 if self.on_cpu else 8
        """Histories are padded to a multiple of so many rows, so that many share a shape and kernels can read them fast."""
        # On a CPU the small products of attention are slower in bfloat16, and more exact in float32.
        self.cache_dtype = torch.float32 if self.on_cpu else dtype
        blocks = [block for block in model.transformer if isinstance(block, Block)]
        self.layers = [Layer(block, dtype) for block in blocks]
        self.eps = model.norm.eps
        self.floor = torch.tensor((self.eps * c.d_model) ** 0.5, device=self.device)
        dependency = model.dep_layer.cross_attn
        widths = {heads: head_width(c.d_model // heads, self.device) for heads in (c.n_heads, DEPENDENCY_HEADS)}
        self._widths = widths
        rotary = blocks[0].self_attn.rotary if blocks else dependency.rotary
        self.turn = rotation(rotary, max_positions)
        self.dependency_turn = rotation(dependency.rotary, max_positions) if positions == "rotary" else None

        # Linear(2d -> d) of two embeddings is a sum of two table rows: 2^bits rows each, worked out once.
        embedding = model.embedding
        fusion = embedding.fusion_proj.weight.float() * embedding.scale
        self.table_s1 = embedding.emb_s1.weight.float() @ fusion[:, : c.d_model].T
        self.table_s1 += embedding.fusion_proj.bias.float()
        self.table_s2 = embedding.emb_s2.weight.float() @ fusion[:, c.d_model :].T
        self.time_emb = model.time_emb

        weight, bias = _prepare_qkv(dependency, dependency.in_proj_weight.float(), dependency.in_proj_bias.float())
        # The query of the dependency layer is a function of the coarse token alone: a table as well.
        queries = DEPENDENCY_HEADS * widths[DEPENDENCY_HEADS]
        self.dependency_query = embedding.emb_s1.weight.float() @ weight[:queries].T + bias[:queries]
        self.dependency_kv = Linear(weight[queries:], bias[queries:], dtype)
        self.dependency_out = Linear(_read_padded(dependency), dependency.out_proj.bias, dtype)
        self.norm = _unit_scale(model.norm)
        head = model.head
        # Heads stay in float32: logits rounded to bfloat16 would tie, and the nucleus would end in a crowd.
        self.head_s1 = Linear(head.proj_s1.weight, head.proj_s1.bias, torch.float32)
        weight = head.proj_s2.weight.float() * _unit_scale(model.dep_layer.norm)
        self.head_s2 = Linear(weight, head.proj_s2.bias, torch.float32)

    def take(self, other: GenerationWeights) -> None:
        """Become another layout of the same model, in the memory of this one."""
        pairs = zip(_tensors(self), _tensors(other), strict=True)
        for mine, new in pairs:
            mine.copy_(new)

    def heads_of(self, layer: int) -> int:
        """Heads of a cached layer; the one after the last block is the dependency layer."""
        return self.n_heads if layer < len(self.layers) else DEPENDENCY_HEADS

    def width_of(self, layer: int) -> int:
        """Numbers of a head of a cached layer."""
        return self._widths[self.heads_of(layer)]

    def embed(self, s1: Tensor, s2: Tensor, time: Tensor) -> Tensor:
        """Ids (rows,) and the time embedding (rows, dim) -> float32 (rows, dim)."""
        return self.table_s1.index_select(0, s1).add_(self.table_s2.index_select(0, s2)).add_(time)

    def time(self, stamps: Tensor) -> Tensor:
        """Time features (..., 5) -> float32 (..., dim)."""
        return self.time_emb(stamps.to(self.device)).float()

    def hidden(self, x: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """Embedded rows x (rows, dim), float32, overwritten -> hidden states h (rows, dim), float32.

        Args:
            positions: of the rows, (rows,).
            attend: the attention over what the rows can see, which also remembers their keys and values.
        """
        turn = self.turns(self.turn, positions, 2 * self.n_heads)
        more = None
        for index, layer in enumerate(self.layers):
            qkv = layer.qkv(self._added(x, more, self.dtype)).to(self.cache_dtype)
            self._turn(qkv, turn, 2 * self.n_heads)
            more = layer.out(attend(index, qkv.view(len(x), 3, self.n_heads, -1)).to(self.dtype))
            more = layer.down(self._gated(layer.up(self._added(x, more, self.dtype))))
        return self._added(x, more, torch.float32).mul_(self.norm)

    def _added(self, x: Tensor, more: Tensor | None, dtype: torch.dtype) -> Tensor:
        """x += more, and its `unit`."""
        if self.fused is not None:
            added: Tensor = self.fused.add_norm(x, more, self.eps, dtype)
            return added
        if more is not None:
            x += more
        return self.unit(x).to(dtype)

    def _gated(self, both: Tensor) -> Tensor:
        """silu(gate) x up of both side by side, (rows, 2 ff_dim) -> (rows, ff_dim)."""
        if self.fused is not None:
            made: Tensor = self.fused.gated(both)
            return made
        gate, up = both.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    def _turn(self, x: Tensor, turn: Tensor, heads: int) -> None:
        """`turn_pairs_`, in one pass where there is a kernel for it."""
        (turn_pairs_ if self.fused is None else self.fused.turn_)(x, turn, heads)

    def turns(self, turn: Tensor, positions: Tensor, heads: int) -> Tensor:
        """The numbers that turn `heads` heads at positions (rows,): (rows, pairs of all heads) on a CPU, where broadcasting
        over heads takes five times as long; elsewhere (rows, 1, pairs of a head)."""
        found = turn.index_select(0, positions)
        return found.repeat(1, heads) if self.on_cpu else found[:, None]

    def dependency_memory(self, hidden: Tensor, positions: Tensor) -> Tensor:
        """h (rows, dim) at positions (rows,) -> keys and values of the dependency layer, (rows, 2, 4, width)."""
        kv = self.dependency_kv(hidden.to(self.dtype)).to(self.cache_dtype)
        if self.dependency_turn is not None:
            self._turn(kv, self.turns(self.dependency_turn, positions, DEPENDENCY_HEADS), DEPENDENCY_HEADS)
        return kv.view(len(kv), 2, DEPENDENCY_HEADS, -1)

    def dependency_queries(self, s1: Tensor, positions: Tensor) -> Tensor:
        """Queries of the chosen coarse ids s1 (rows,), standing at positions (rows,) -> (rows, 4, width)."""
        q = self.dependency_query.index_select(0, s1)
        # "reference": neither query nor keys are turned; the released weights were sampled this way.
        if self.dependency_turn is not None:
            self._turn(q, self.turns(self.dependency_turn, positions, DEPENDENCY_HEADS), DEPENDENCY_HEADS)
        return q.to(self.cache_dtype).view(len(q), DEPENDENCY_HEADS, -1)

    def s1_logits(self, hidden: Tensor) -> Tensor:
        """h (rows, dim) -> (rows, 2^s1_bits), float32."""
        return self.head_s1(hidden)

    def s2_logits(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """h and what the dependency layer read, (rows, dim) each -> (rows, 2^s2_bits), float32."""
        y = self.dependency_out(attended.to(self.dtype)) + hidden
        return self.head_s2(self.unit(y))

    def unit(self, x: Tensor) -> Tensor:
        """RMSNorm without its weight; on a CPU without a factor sqrt(dim) as well, x / sqrt(|x|^2 + dim eps): a third of the
        time."""
        if not self.on_cpu:
            return F.rms_norm(x, (self.dim,), eps=self.eps)
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(self.floor)
