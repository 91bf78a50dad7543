"""Latent attention of a decode step in Triton, in the simplest form that is fast: positions are shared out among blocks, then combined."""

import torch
import triton
import triton.language as tl


@triton.jit
def _part(
    queries, keys, out, sums,
    scale, context, part, heads, splits,
    WIDTH: tl.constexpr, ROTARY: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):
    sequence, group, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    head = group * HEADS + tl.arange(0, HEADS)
    inside = head < heads
    wide, narrow = tl.arange(0, WIDTH), tl.arange(0, ROTARY)
    row = WIDTH + ROTARY
    query = queries + (sequence * heads + head[:, None]).to(tl.int64) * row
    q = tl.load(query + wide[None, :], mask=inside[:, None], other=0.0)
    q_pe = tl.load(query + WIDTH + narrow[None, :], mask=inside[:, None], other=0.0)
    peak = tl.full([HEADS], float("-inf"), tl.float32)
    total = tl.zeros([HEADS], tl.float32)
    acc = tl.zeros([HEADS, WIDTH], tl.float32)
    begin = split * part
    end = tl.minimum(begin + part, context)
    for start in range(begin, end, BLOCK):
        position = start + tl.arange(0, BLOCK)
        there = position < end
        key = keys + (sequence * context + position[:, None]).to(tl.int64) * row
        k = tl.load(key + wide[None, :], mask=there[:, None], other=0.0)
        k_pe = tl.load(key + WIDTH + narrow[None, :], mask=there[:, None], other=0.0)
        score = (tl.dot(q, tl.trans(k)) + tl.dot(q_pe, tl.trans(k_pe))) * (scale * 1.4426950408889634)
        score = tl.where(there[None, :], score, float("-inf"))
        higher = tl.maximum(peak, tl.max(score, 1))
        weight = tl.math.exp2(score - higher[:, None])
        shrink = tl.math.exp2(peak - higher)
        total = total * shrink + tl.sum(weight, 1)
        acc = acc * shrink[:, None] + tl.dot(weight.to(k.dtype), k)
        peak = higher
    place = (sequence * heads + head).to(tl.int64) * splits + split
    tl.store(out + place[:, None] * WIDTH + wide[None, :], acc / total[:, None], mask=inside[:, None])
    tl.store(sums + place, peak + tl.math.log2(total), mask=inside)


@triton.jit
def _combine(parts, sums, out, splits, WIDTH: tl.constexpr, SPLITS: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    split, wide = tl.arange(0, SPLITS), tl.arange(0, WIDTH)
    size = tl.load(sums + row * splits + split, mask=split < splits, other=float("-inf"))
    weight = tl.math.exp2(size - tl.max(size, 0))
    values = tl.load(parts + (row * splits + split[:, None]) * WIDTH + wide[None, :], mask=(split < splits)[:, None], other=0.0)
    tl.store(out + row * WIDTH + wide, tl.sum(values * weight[:, None], 0) / tl.sum(weight, 0))


def latent_decode(queries, keys, width, scale):
    """queries[B, H, W + R], keys[B, S, W + R], of which the first W are values: out[B, H, W]."""
    batch, heads, row = queries.shape
    context = keys.shape[1]
    block, own = 32, 64 if heads >= 64 else 16
    groups = triton.cdiv(heads, own)
    splits = max(1, min(64, 132 // (batch * groups), context // 256))
    part = triton.cdiv(triton.cdiv(context, splits), block) * block
    splits = triton.cdiv(context, part)
    parts = torch.empty(batch, heads, splits, width, dtype=torch.float32, device=queries.device)
    sums = torch.empty(batch, heads, splits, dtype=torch.float32, device=queries.device)
    out = torch.empty(batch, heads, width, dtype=queries.dtype, device=queries.device)
    _part[(batch, groups, splits)](
        queries, keys, parts, sums, scale, context, part, heads, splits,
        WIDTH=width, ROTARY=row - width, HEADS=own, BLOCK=block, num_warps=8, num_stages=2,
    )
    _combine[(batch * heads,)](parts, sums, out, splits, WIDTH=width, SPLITS=triton.next_power_of_2(splits), num_warps=4)
    return out
