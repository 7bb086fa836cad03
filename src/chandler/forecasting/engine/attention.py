"""Attention over a memory of two parts, one that the paths of a series share and one that is each path's own."""

from __future__ import annotations

import torch
from torch import Tensor


def attend_shared_prefix(
    q: Tensor, common: tuple[Tensor, Tensor, Tensor | None] | None, own: tuple[Tensor, Tensor] | None
) -> Tensor:
    """softmax(q [K_common, K_own]^T) [V_common, V_own]. Queries are scaled already.

    Args:
        q: (series, heads, paths, count, head_dim), contiguous. Several queries of a path (count > 1) stand at its
            own rows, of which each sees those up to itself.
        common: keys transposed, (series * heads, head_dim, width); values, (series * heads, width, head_dim); and
            what is added to the scores of the last keys, (series, 1, some), or None.
        own: keys and values, (series * heads * paths, rows, head_dim) each; rows = count where count > 1. One of
            both memories may be None.

    Returns:
        (series, heads, paths, count, head_dim), of the dtype of q.
    """
    series, heads, paths, count, dim = q.shape
    together, apart = q.view(series * heads, paths * count, dim), q.view(-1, count, dim)
    scores, end = [], 0
    if common is not None:
        keys, values, bias = common
        end = keys.shape[2]
        scores.append(torch.bmm(together, keys))
        if bias is not None:
            last = scores[0].narrow(2, end - bias.shape[2], bias.shape[2])
            last.view(series, heads, paths * count, -1).add_(bias[:, None])
    if own is not None:
        found = torch.bmm(apart, own[0].mT)
        if count > 1:
            found.masked_fill_(torch.ones(count, count, dtype=torch.bool, device=q.device).triu_(1), -torch.inf)
        scores.append(found.view(series * heads, paths * count, -1))
    every = scores[0] if len(scores) == 1 else torch.cat(scores, -1)
    weights = torch.softmax(every, -1, dtype=torch.float32).to(q.dtype)
    if common is None:
        assert own is not None
        return torch.bmm(weights.view(len(apart), count, -1), own[1]).view(q.shape)
    out = torch.bmm(weights.narrow(2, 0, end), values)
    if own is not None:
        weights = weights.narrow(2, end, own[0].shape[1]).reshape(len(apart), count, -1)
        out = out.view(apart.shape).baddbmm_(weights, own[1])
    return out.view(q.shape)


def attend_open_columns(q: Tensor, common: tuple[Tensor, Tensor], own: Tensor, mask: Tensor) -> Tensor:
    """The same for one query of each path over memory of which only a part holds rows: `mask` says which.

    Args:
        q: (series, heads, paths, dim), scaled already.
        common: keys transposed, (series * heads, dim, width), and values, (series * heads, width, dim).
        own: keys and values, (2, series, heads, paths, rows, dim).
        mask: 0 or -inf for each column of both, (series, 1, 1, width + rows).

    Returns:
        (series, heads, paths, dim), of the dtype of q.
    """
    series, heads, paths, dim = q.shape
    (keys, values), (own_keys, own_values) = common, own.flatten(1, 3)
    width, together = keys.shape[2], q.contiguous().view(series * heads, paths, dim)
    scores = q.new_empty(series * heads, paths, width + own_keys.shape[1])
    # Both products write into their part of one matrix: nothing is joined afterwards.
    torch.bmm(together, keys, out=scores[..., :width])
    each = scores.view(series * heads * paths, 1, -1)
    torch.bmm(together.view(-1, 1, dim), own_keys.mT, out=each[..., width:])
    scores.view(series, heads, paths, -1).add_(mask)
    weights = torch.softmax(scores, -1)
    out = torch.bmm(weights[..., :width], values)
    out.view(-1, 1, dim).baddbmm_(weights.view(len(each), 1, -1)[..., width:], own_values)
    return out.view(q.shape)
