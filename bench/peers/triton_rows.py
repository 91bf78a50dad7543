"""Kernels over rows in Triton as its tutorials write them: a program for a row, all of which it has in registers."""

import torch
import triton
import triton.language as tl


@triton.jit
def _norm(x, residual, weight, h, y, width, eps, ADDS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * width
    column = tl.arange(0, BLOCK)
    there = column < width
    value = tl.load(x + row + column, mask=there, other=0.0).to(tl.float32)
    if ADDS:
        value = (value + tl.load(residual + row + column, mask=there, other=0.0).to(tl.float32)).to(h.dtype.element_ty)
        tl.store(h + row + column, value, mask=there)
        value = value.to(tl.float32)
    inverse = tl.rsqrt(tl.sum(value * value, 0) / width + eps)
    scaled = value * inverse * tl.load(weight + column, mask=there, other=0.0).to(tl.float32)
    tl.store(y + row + column, scaled.to(y.dtype.element_ty), mask=there)


def norm(x, residual, weight, eps):
    rows, width = x.shape
    y = torch.empty_like(x)
    h = x if residual is None else torch.empty_like(x)
    block = triton.next_power_of_2(width)
    warps = max(1, min(16, block // 512))
    _norm[(rows,)](x, residual, weight, h, y, width, eps, ADDS=residual is not None, BLOCK=block, num_warps=warps)
    return h, y


@triton.jit
def _swiglu(g, u, y, size, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = place < size
    gate = tl.load(g + place, mask=there).to(tl.float32)
    up = tl.load(u + place, mask=there).to(tl.float32)
    tl.store(y + place, (gate * tl.sigmoid(gate) * up).to(y.dtype.element_ty), mask=there)


def swiglu(g, u):
    y = torch.empty_like(g)
    _swiglu[(triton.cdiv(g.numel(), 2048),)](g, u, y, g.numel(), BLOCK=2048, num_warps=8)
    return y


@triton.jit
def _combine(x, weight, y, width, SLOTS: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < width
    total = tl.zeros([BLOCK], tl.float32)
    for slot in range(SLOTS):
        value = tl.load(x + (row * SLOTS + slot) * width + column, mask=there, other=0.0).to(tl.float32)
        total += value * tl.load(weight + row * SLOTS + slot)
    tl.store(y + row * width + column, total.to(y.dtype.element_ty), mask=there)


def combine(x, weight):
    tokens, slots, width = x.shape
    y = torch.empty(tokens, width, dtype=x.dtype, device=x.device)
    _combine[(tokens, triton.cdiv(width, 1024))](x, weight, y, width, SLOTS=slots, BLOCK=1024, num_warps=4)
    return y
