"""What PyTorch, cuBLAS, cuDNN and Triton make of the cases of bench/gpu.ts: lines of JSON in, a line out for each.

  {"do": "limits"}                          what a copy and large products reach on this GPU
  {"do": "open", "op": .., inputs, results} makes a case's numbers, and compares our results with the first peer's
  {"do": "time", "peer": .., "runs": n}     microseconds of n runs, each with an empty cache
  {"do": "close"}                           frees all of it

DSKC_BENCH_CPU=1 computes on the processor, where times mean nothing: so tests can compare results without a GPU.
"""

import json
import math
import os
import struct
import sys
import time

ON_CPU = os.environ.get("DSKC_BENCH_CPU") == "1"
# Answers are the only lines of the output, whatever libraries print.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

if not ON_CPU:
    import triton_latent  # noqa: E402
    import triton_rows  # noqa: E402

DEVICE = "cpu" if ON_CPU else "cuda"
TYPES = {"bf16": torch.bfloat16, "f32": torch.float32, "i32": torch.int32, "bool": torch.bool, "f8e4m3": torch.float8_e4m3fn, "i8": torch.int8, "i4": torch.int8}
# Elements at once, of which several arrays of eight bytes are made.
CHUNK = 1 << 26


def numbers(shape, dtype, seed, factor):
    """What bench/gpu/fill.ts makes: sums of four bytes of a hash of the element's number, times a factor."""
    # Two codes of four bits are a byte.
    shape = [*shape[:-1], shape[-1] // 2] if dtype == "i4" else shape
    out = torch.empty(math.prod(shape), dtype=TYPES[dtype], device=DEVICE)
    scale = torch.tensor(struct.unpack("f", struct.pack("i", factor))[0], dtype=torch.float32, device=DEVICE)
    low = 0xFFFFFFFF
    for start in range(0, out.numel(), CHUNK):
        end = min(out.numel(), start + CHUNK)
        h = (torch.arange(start, end, dtype=torch.int64, device=DEVICE) + seed * 0x9E3779B1) & low
        h = ((h ^ (h >> 16)) * 0x7FEB352D) & low
        h = ((h ^ (h >> 15)) * 0x846CA68B) & low
        h = h ^ (h >> 16)
        total = (h & 255) + ((h >> 8) & 255) + ((h >> 16) & 255) + (h >> 24)
        out[start:end] = ((total - 510).float() * scale).to(out.dtype)
    return out.view(shape)


def stored(path, dtype):
    with open(path, "rb") as file:
        data = bytearray(file.read())
    return torch.frombuffer(data, dtype=TYPES[dtype]).to(DEVICE)


def apart(ours, theirs):
    """The root of the mean square of differences, relative, and the largest one, relative to the value there plus that root."""
    a, b = ours.float(), theirs.float()
    root = b.square().mean().sqrt()
    difference = (a - b).abs()
    mean = (difference.square().mean().sqrt() / root).item()
    worst = (difference / (b.abs() + root)).max().item()
    # JSON has no numbers for what is none.
    return {"mean": mean if math.isfinite(mean) else 1e30, "worst": worst if math.isfinite(worst) else 1e30}


class Flush:
    """Empties the second-level cache, and keeps the GPU busy while the next launches are on their way."""

    def __init__(self):
        self.memory = torch.empty(1 << 12 if ON_CPU else 64 << 20, dtype=torch.float32, device=DEVICE)

    def __call__(self):
        self.memory.zero_()
        if not ON_CPU:
            torch.cuda._sleep(400_000)


def timed(work, runs, flush):
    if ON_CPU:
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            work()
            times.append((time.perf_counter() - start) * 1e6)
        return times
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(runs)]
    for start, end in events:
        flush()
        start.record()
        work()
        end.record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) * 1000 for start, end in events]


def median(values):
    return sorted(values)[len(values) // 2]


def limits(flush):
    size = 1 << 10 if ON_CPU else 1 << 30
    a = torch.ones(size, dtype=torch.uint8, device=DEVICE)
    b = torch.empty_like(a)
    copy = 2 * size / median(timed(lambda: b.copy_(a), 10, flush)) * 1e6
    del a, b
    n = 64 if ON_CPU else 8192
    x = numbers([n, n], "bf16", 1, FACTOR_OF_ONE)
    y = numbers([n, n], "bf16", 2, FACTOR_OF_ONE)
    timed(lambda: x @ y, 3, flush)
    found = {"copy": copy, "bf16": 2 * n**3 / median(timed(lambda: x @ y, 10, flush)) * 1e6}
    try:
        x8, y8 = x.to(torch.float8_e4m3fn), y.to(torch.float8_e4m3fn).t().contiguous().t()
        one = torch.ones((), device=DEVICE)
        # Sums as the tensor cores keep them, without promotion: the fastest there is.
        eight = lambda: torch._scaled_mm(x8, y8, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)
        timed(eight, 3, flush)
        found["fp8"] = 2 * n**3 / median(timed(eight, 10, flush)) * 1e6
    except Exception as error:
        print(f"torch._scaled_mm: {error}", file=sys.stderr)
    name = "the processor" if ON_CPU else torch.cuda.get_device_name()
    return {"gpu": name, "torch": torch.__version__, **found}


# The bits of 1 over the deviation of a sum of four bytes.
FACTOR_OF_ONE = struct.unpack("i", struct.pack("f", 1 / math.sqrt((4 * (256**2 - 1)) / 12)))[0]


class Case:
    """Peers by name, and from what the first one returns, or `reference` where it rounds too much, the results by our names."""

    def __init__(self, results, reference=None):
        self.peers = {}
        self.without = {}
        self.results = results
        self.reference = reference
        self.made = None
        self.others = []

    def add(self, name, work, same=True):
        """A peer that this machine does not have, or not for these shapes, is left out, with the reason. One may compute something else."""
        try:
            made = work()
            if not ON_CPU:
                torch.cuda.synchronize()
        except Exception as error:
            self.without[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:300]
            return
        if same and self.made is None:
            self.made = self.results(made)
        if not same:
            self.others.append(name)
        self.peers[name] = work

    def known(self):
        """Results to compare with; none where there is no peer."""
        if self.reference is not None:
            return self.results(self.reference())
        return self.made


def matmul(given, turned="", f32=False, **_):
    x, w = given["x"], given["w"]
    a = x.t() if turned == "x" else x
    b = w.t() if turned == "w" else w
    case = Case(lambda y: {"y": y})
    if f32:
        case.add("cuBLAS", lambda: torch.mm(a, b, out_dtype=torch.float32))
        if not case.peers:
            case.add("cuBLAS, bf16", lambda: a @ b)
    else:
        case.add("cuBLAS", lambda: a @ b)
    return case


def matmul_f32(given, **_):
    """Scores of experts: activations in bf16, weights in f32, no TF32."""
    x, w = given["x"], given["w"]
    case = Case(lambda y: {"y": y})
    case.add("cuBLAS, f32", lambda: x.float() @ w)
    return case


def heads(given, **_):
    """y[T, H, N] = x[T, H, K] w[K, H, N]."""
    x, w = given["x"].transpose(0, 1), given["w"].transpose(0, 1)
    case = Case(lambda y: {"y": y.transpose(0, 1).reshape(x.shape[1], x.shape[0], -1)})
    case.add("torch.bmm", lambda: torch.bmm(x, w))
    return case


def routed(given, experts, slots):
    """Rows sorted by their expert, and where each expert's rows end. Ours sorts and gathers inside of the time; this does not."""
    chosen = given["chosen"].flatten()
    order = torch.argsort(chosen, stable=True)
    ends = torch.bincount(chosen, minlength=experts).cumsum(0).to(torch.int32)
    return order, ends, torch.div(order, slots, rounding_mode="floor")


def scattered(order, slots):
    def results(y):
        out = torch.empty_like(y)
        out[order] = y
        return {"y": out.view(-1, slots, y.shape[-1])}

    return results


def grouped(given, experts, slots, **_):
    order, ends, token = routed(given, experts, slots)
    rows = given["x"][token]
    case = Case(scattered(order, slots))
    case.add("torch._grouped_mm", lambda: torch._grouped_mm(rows, given["w"], offs=ends))
    return case


def grouped_input(given, experts, slots, **_):
    order, ends, _ = routed(given, experts, slots)
    rows = given["x"].flatten(0, 1)[order]
    case = Case(scattered(order, slots))
    case.add("torch._grouped_mm", lambda: torch._grouped_mm(rows, given["w"].transpose(1, 2), offs=ends))
    return case


def grouped_weight(given, experts, slots, **_):
    order, ends, token = routed(given, experts, slots)
    rows, columns = given["x"][token], given["w"].flatten(0, 1)[order]
    case = Case(lambda w: {"y": w})
    case.add("torch._grouped_mm", lambda: torch._grouped_mm(rows.t(), columns, offs=ends))
    return case


def experts_layer(given, experts, slots):
    """Rows sorted by their expert, and what they become; `back` finds a token's rows again. Sorting is no part of the time."""
    order, ends, token = routed(given, experts, slots)
    back = torch.argsort(order).view(-1, slots)

    def work(exact=False):
        rows = given["x"][token]
        hidden = F.silu(torch._grouped_mm(rows, given["gate"], offs=ends)) * torch._grouped_mm(rows, given["up"], offs=ends)
        made = torch._grouped_mm(hidden, given["down"], offs=ends)[back]
        if exact:
            return (made.float() * given["weight"][..., None]).sum(1).to(made.dtype)
        return torch.bmm(given["weight"][:, None, :].to(made.dtype), made)[:, 0]

    return work


def moe(given, experts, slots, **_):
    work = experts_layer(given, experts, slots)
    case = Case(lambda y: {"y": y}, lambda: work(exact=True))
    case.add("torch._grouped_mm", work)
    return case


def moe_training(given, experts, slots, **_):
    names = ("x", "gate", "up", "down", "weight")
    leaves = [given[name].requires_grad_() for name in names]
    forward = experts_layer(given, experts, slots)

    def both():
        y = forward()
        return (y.detach(), *torch.autograd.grad(y, leaves, given["d.y"]))

    case = Case(lambda made: dict(zip(("y", *(f"d.{name}" for name in names)), made)))
    case.add("torch._grouped_mm", both)
    return case


def scales(largest):
    """At least 1e-4, over 448. torch divides by a number of the processor as a product with its inverse, which is another number."""
    return largest.clamp(min=1e-4) / torch.tensor(448.0, device=DEVICE)


def quantized(x):
    """Codes of x[.., K] and a scale for 128 of them."""
    tiles = x.float().unflatten(-1, (-1, 128))
    scale = scales(tiles.abs().amax(-1))
    return (tiles / scale[..., None]).to(torch.float8_e4m3fn).flatten(-2), scale


def quantized_weight(w):
    """Codes of w[.., N, K] and a scale for 128 x 128 of them; the last rows may be fewer."""
    columns = w.shape[-2]
    whole = F.pad(w.float(), (0, 0, 0, -columns % 128))
    tiles = whole.unflatten(-1, (-1, 128)).unflatten(-3, (-1, 128))
    scale = scales(tiles.abs().amax((-1, -3)))
    codes = (tiles / scale[..., None, :, None]).to(torch.float8_e4m3fn)
    return codes.flatten(-2).flatten(-3, -2)[..., :columns, :], scale


def plain(codes, scale):
    return (codes.float().unflatten(-1, (-1, 128)) * scale[..., None]).flatten(-2)


def plain_weight(codes, scale):
    return plain(codes, scale.repeat_interleave(128, -2)[..., : codes.shape[-2], :])


def of_codes(given, group, kind):
    """Weights [.., K, N] in bf16 that codes stand for: the first of two codes in a byte is in its lower half."""
    codes, scale = given["w"], given["w.scale"]
    if kind == "int4":
        codes = torch.stack(((codes << 4) >> 4, codes >> 4), -1).flatten(-2)
    scales_of_terms = scale.float().repeat_interleave(group, -2)[..., : codes.shape[-2], :]
    return (codes.float() * scales_of_terms).to(torch.bfloat16)


def stored_matmul(given, group, kind, **_):
    x, w = given["x"], of_codes(given, group, kind)
    case = Case(lambda y: {"y": y})
    case.add("cuBLAS, weights in bf16", lambda: x @ w)
    return case


def stored_grouped(given, group, kind, experts, slots, **_):
    return grouped({**given, "w": of_codes(given, group, kind)}, experts, slots)


def fp8_matmul(given, turned, **_):
    x, w = given["x"], given["w"].t().contiguous() if turned else given["w"]
    (a, a_scale), (b, b_scale) = quantized(x), quantized_weight(w)
    one = torch.ones((), device=DEVICE)
    rows, columns = torch.ones(x.shape[0], 1, device=DEVICE), torch.ones(1, w.shape[0], device=DEVICE)
    outer = a_scale.t().contiguous().t()

    def multiply(left, right, fast=False):
        return torch._scaled_mm(a, b.t(), scale_a=left, scale_b=right, out_dtype=torch.bfloat16, use_fast_accum=fast)

    case = Case(lambda y: {"y": y}, lambda: (plain(a, a_scale) @ plain_weight(b, b_scale).t()).to(torch.bfloat16))
    case.add("cuBLAS, the same scales", lambda: multiply(outer, b_scale.t()))
    # Not the same product: there are no scales of tiles, and nothing is promoted.
    case.add("cuBLAS, one scale", lambda: multiply(one, one, True), same=False)
    case.add("torch, scales of rows", lambda: multiply(rows, columns, True), same=False)
    return case


def fp8_weight(given, **_):
    (a, a_scale), (b, b_scale) = (quantized(given[name].t().contiguous()) for name in ("dy", "x"))
    # Neighbors are rows.
    left, right = (scale.t().contiguous().t() for scale in (a_scale, b_scale))
    case = Case(lambda dw: {"dw": dw}, lambda: (plain(a, a_scale) @ plain(b, b_scale).t()).to(torch.bfloat16))
    case.add("cuBLAS, the same scales", lambda: torch._scaled_mm(a, b.t(), scale_a=left, scale_b=right.t(), out_dtype=torch.bfloat16))
    return case


def fp8_grouped_weight(given, experts, slots, **_):
    order, ends, token = routed(given, experts, slots)
    rows, columns = given["x"][token], given["dy"].flatten(0, 1)[order]

    def exact():
        dw = torch.zeros(experts, rows.shape[1], columns.shape[1], dtype=torch.bfloat16, device=DEVICE)
        start = 0
        for expert, end in enumerate(ends.tolist()):
            if end > start:
                tiles = (F.pad(each[start:end].t(), (0, -(end - start) % 128)) for each in (rows, columns))
                left, right = (plain(*quantized(each)) for each in tiles)
                dw[expert] = left @ right.t()
            start = end
        return dw

    case = Case(lambda dw: {"dw": dw}, exact)
    case.add("torch._grouped_mm in bf16", lambda: torch._grouped_mm(rows.t(), columns, offs=ends), same=False)
    return case


def fp8_grouped(given, experts, slots, **_):
    order, ends, token = routed(given, experts, slots)
    (a, a_scale), (b, b_scale) = quantized(given["x"]), quantized_weight(given["w"])
    rows, row_scale = a[token], a_scale[token]
    ones = torch.ones(rows.shape[0], device=DEVICE), torch.ones(experts, b.shape[1], device=DEVICE)

    def exact():
        y = torch.empty(rows.shape[0], b.shape[1], dtype=torch.bfloat16, device=DEVICE)
        start = 0
        for expert, end in enumerate(ends.tolist()):
            left = plain(rows[start:end], row_scale[start:end])
            y[start:end] = left @ plain_weight(b[expert], b_scale[expert]).t()
            start = end
        return y

    case = Case(scattered(order, slots), exact)
    # Scales of rows instead of tiles: the same product is not there.
    case.add(
        "torch._scaled_grouped_mm, scales of rows",
        lambda: torch._scaled_grouped_mm(
            rows, b.transpose(1, 2), *ones, offs=ends, out_dtype=torch.bfloat16, use_fast_accum=True
        ),
        same=False,
    )
    return case


def fp8_cast(given, **_):
    case = Case(lambda made: {"codes": made[0], "scale": made[1]})
    case.add("torch", lambda: quantized(given["x"]))
    return case


def attention_backends(q, v):
    """Names, backends, and whether values have to be as wide as queries."""
    from torch.nn.attention import SDPBackend

    if ON_CPU:
        return [("torch", SDPBackend.MATH, False)]
    narrow = v.shape[-1] != q.shape[-1]
    return [("cuDNN", SDPBackend.CUDNN_ATTENTION, False), ("flash-attention 2" + (", values padded" if narrow else ""), SDPBackend.FLASH_ATTENTION, narrow)]


def heads_first(given, sequences, length):
    return [given[name].view(sequences, length, *given[name].shape[1:]).transpose(1, 2) for name in ("q", "k", "v")]


def attend(q, k, v, backend, padded):
    from torch.nn.attention import sdpa_kernel

    width = v.shape[-1]
    if padded:
        v = F.pad(v, (0, q.shape[-1] - width))
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)[..., :width]


def attention(given, sequences, length, **_):
    q, k, v = heads_first(given, sequences, length)
    case = Case(lambda out: {"out": out.transpose(1, 2).reshape(given["q"].shape[0], q.shape[1], v.shape[-1])})
    for name, backend, padded in attention_backends(q, v):
        case.add(name, lambda backend=backend, padded=padded: attend(q, k, v, backend, padded))
    return case


def attention_backward(given, sequences, length, **_):
    leaves = [given[name].requires_grad_() for name in ("q", "k", "v")]
    q, k, v = heads_first(given, sequences, length)
    up = given["d.out"].view(sequences, length, *given["d.out"].shape[1:]).transpose(1, 2)

    def exact():
        """In f32, some heads at a time."""
        found = [torch.empty(leaf.shape, dtype=torch.float32, device=DEVICE) for leaf in leaves]
        views = [one.view(sequences, length, *one.shape[1:]).transpose(1, 2) for one in found]
        hidden = torch.ones(length, length, dtype=torch.bool, device=DEVICE).triu(1)
        step = max(1, (1 << 28) // length**2)
        for sequence in range(sequences):
            for head in range(0, q.shape[1], step):
                part = (sequence, slice(head, head + step))
                a, b, c = (one[part].detach().float().requires_grad_() for one in (q, k, v))
                scores = (a @ b.transpose(1, 2) * a.shape[-1] ** -0.5).masked_fill(hidden, float("-inf"))
                made = torch.autograd.grad(torch.softmax(scores, -1) @ c, (a, b, c), up[part].float())
                for view, grad in zip(views, made):
                    view[part] = grad
        return found

    case = Case(lambda made: dict(zip(("d.q", "d.k", "d.v"), made)), exact)
    for name, backend, padded in attention_backends(q, v):
        try:
            out = attend(q, k, v, backend, padded)
        except Exception as error:
            case.without[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"[:300]
            continue
        case.add(name, lambda out=out: torch.autograd.grad(out, leaves, up, retain_graph=True))
    return case


def mla_decode(given, context, **_):
    """Rows of the cache are positions, one sequence behind the other; the last one of each is the new token's."""
    batch, heads, width = given["q"].shape

    def whole(cache, new):
        rows = given[cache].view(batch, context, -1)
        rows[:, -1] = given[new]
        return rows

    keys = torch.cat([whole("latent", "new"), whole("key_pe", "new_pe")], -1)
    queries = torch.cat([given["q"], given["q_pe"]], -1)
    values = keys[..., :width]
    scale = 192**-0.5

    def products(queries=queries, keys=keys, values=values):
        return torch.softmax(torch.bmm(queries, keys.transpose(1, 2)) * scale, -1) @ values

    def exact():
        """A sequence at a time: all of them in f32 would be many gigabytes."""
        parts = [products(queries[b : b + 1].float(), keys[b : b + 1].float(), values[b : b + 1].float()) for b in range(batch)]
        return torch.cat(parts)

    case = Case(lambda out: {"out": out}, exact)
    case.add("torch.bmm", products)
    if not ON_CPU:
        case.add("Triton", lambda: triton_latent.latent_decode(queries, keys, width, scale))
    return case


def norm(given, **_):
    x, weight = given["x"], given["weight"]
    residual = given.get("r")

    def native():
        h = x if residual is None else x + residual
        return h, F.rms_norm(h, weight.shape, weight, 1e-6)

    case = Case(lambda made: {"h": made[0], "y": made[1]})
    case.add("torch", native)
    if not ON_CPU:
        case.add("Triton", lambda: triton_rows.norm(x, residual, weight, 1e-6))
    return case


def norm_backward(given, **_):
    x, weight = given["x"].requires_grad_(), given["weight"].requires_grad_()
    y = F.rms_norm(x, weight.shape, weight, 1e-6)
    case = Case(lambda made: {"d.x": made[0], "d.weight": made[1]})
    case.add("torch", lambda: torch.autograd.grad(y, (x, weight), given["d.y"], retain_graph=True))
    return case


def swiglu(given, **_):
    g, u = given["g"], given["u"]
    case = Case(lambda y: {"y": y})
    case.add("torch", lambda: F.silu(g) * u)
    if not ON_CPU:
        case.add("Triton", lambda: triton_rows.swiglu(g, u))
    return case


def swiglu_backward(given, **_):
    g, u = given["g"].requires_grad_(), given["u"].requires_grad_()
    y = F.silu(g) * u
    case = Case(lambda made: {"d.g": made[0], "d.u": made[1]})
    case.add("torch", lambda: torch.autograd.grad(y, (g, u), given["d.y"], retain_graph=True))
    return case


def softmax(given, **_):
    case = Case(lambda y: {"y": y})
    case.add("torch", lambda: torch.softmax(given["x"], -1))
    return case


def cast(given, **_):
    case = Case(lambda y: {"y": y})
    case.add("torch", lambda: given["x"].to(torch.bfloat16))
    return case


def transpose(given, **_):
    x = given["x"]
    out = torch.empty(x.shape[1], x.shape[0], dtype=torch.bfloat16, device=DEVICE)
    case = Case(lambda y: {"y": y})
    case.add("torch", lambda: out.copy_(x.t()))
    return case


def embedding(given, **_):
    case = Case(lambda y: {"y": y})
    case.add("torch", lambda: F.embedding(given["tokens"], given["weight"]))
    return case


def embedding_backward(given, vocabulary, **_):
    case = Case(lambda made: {"d.weight": made})
    backward = torch.ops.aten.embedding_dense_backward
    case.add("torch", lambda: backward(given["d.y"], given["tokens"].long(), vocabulary, -1, False))
    return case


def combine(given, **_):
    x, weight = given["x"], given["weight"]
    # The product rounds the weights, which nobody else does.
    case = Case(lambda y: {"y": y}, lambda: (x.float() * weight[..., None]).sum(1).to(x.dtype))
    case.add("torch.bmm", lambda: torch.bmm(weight[:, None, :].to(x.dtype), x)[:, 0])
    if not ON_CPU:
        case.add("Triton", lambda: triton_rows.combine(x, weight))
    return case


def router(given, groups, kept, slots, **_):
    score, bias = given["score"], given["bias"]
    tokens, experts = score.shape

    def choose():
        affinity = torch.sigmoid(score)
        ranked = (affinity + bias).view(tokens, groups, -1)
        best = ranked.topk(2, -1).values.sum(-1).topk(kept, -1).indices
        hidden = torch.ones(tokens, groups, dtype=torch.bool, device=DEVICE).scatter_(1, best, False)
        chosen = ranked.masked_fill(hidden[..., None], float("-inf")).flatten(1).topk(slots, -1).indices
        weight = affinity.gather(1, chosen)
        return chosen, weight / (weight.sum(-1, keepdim=True) + 1e-20) * 2.5

    case = Case(lambda made: {"chosen": made[0], "weight": made[1]})
    case.add("torch", choose)
    return case


def loss_forward(given, **_):
    h, weight, target = given["h"], given["weight"], given["target"].long()
    case = Case(lambda loss: {"loss": loss})
    case.add("torch", lambda: F.cross_entropy((h @ weight.t()).float(), target, reduction="none"))
    return case


def loss(given, **_):
    h, weight, target = given["h"].requires_grad_(), given["weight"].requires_grad_(), given["target"].long()

    def whole():
        found = F.cross_entropy((h @ weight.t()).float(), target, reduction="none")
        return (found.detach(), *torch.autograd.grad(found.sum(), (h, weight)))

    @torch.no_grad()
    def in_chunks(rows=1024):
        """Logits of some tokens at a time, as fused losses have them."""
        losses, d_h, d_weight = [], [], torch.zeros_like(weight)
        for own, wanted in zip(h.split(rows), target.split(rows)):
            logits = (own @ weight.t()).float()
            total = logits.logsumexp(-1, keepdim=True)
            losses.append((total - logits.gather(1, wanted[:, None]))[:, 0])
            grad = logits.sub_(total).exp_()
            grad[torch.arange(len(wanted), device=DEVICE), wanted] -= 1
            grad = grad.to(h.dtype)
            d_h.append(grad @ weight)
            d_weight.addmm_(grad.t(), own)
        return torch.cat(losses), torch.cat(d_h), d_weight

    case = Case(lambda made: {"loss": made[0], "d.h": made[1], "d.weight": made[2]})
    case.add("torch", whole)
    case.add("torch, in chunks", in_chunks)
    return case


def adamw(given, **_):
    weight, m, v = given["weight"], given["m"], given["v"].abs()
    step = torch.full((), 10_000.0, device=DEVICE)

    def update():
        torch._fused_adamw_(
            [weight], [given["grad"]], [m], [v], [], [step],
            lr=1e-3, beta1=0.9, beta2=0.95, weight_decay=0.1, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip
        return weight.clone() if first else weight, m.clone() if first else m, v.clone() if first else v

    first = True
    case = Case(lambda made: dict(zip(("weight", "m", "v"), made)))
    case.add("torch, fused", update)
    first = False
    return case


OPS = {
    op.__name__: op
    for op in (
        *(matmul, matmul_f32, heads, grouped, grouped_input, grouped_weight, fp8_matmul, fp8_weight, fp8_grouped_weight, fp8_grouped, fp8_cast, stored_matmul, stored_grouped, moe, moe_training, attention, attention_backward, mla_decode),
        *(norm, norm_backward, swiglu, swiglu_backward, softmax, cast, transpose, embedding, embedding_backward),
        *(combine, router, loss, loss_forward, adamw),
    )
}


def opened(request):
    given = {}
    for one in request["inputs"]:
        if "seed" in one:
            given[one["name"]] = numbers(one["shape"], one["dtype"], one["seed"], one["factor"])
        else:
            given[one["name"]] = stored(one["file"], one["dtype"]).view(one["shape"])
    parameters = {key: value for key, value in request.items() if key not in ("do", "op", "inputs", "results")}
    case = OPS[request["op"]](given, **parameters)
    compared, theirs, known = {}, {}, case.known()
    for one in [] if known is None else request["results"]:
        ours = stored(one["file"], one["dtype"])
        compared[one["name"]] = apart(ours, some(known[one["name"]], one))
        # How far the peer itself is from what is more exact.
        if case.reference is not None and case.made is not None:
            theirs[one["name"]] = apart(some(case.made[one["name"]], one), some(known[one["name"]], one))
    case.made = None
    peers = {"peers": list(case.peers), "others": case.others, "without": case.without}
    return case, {**peers, "compared": compared, "theirs": theirs}


def some(result, one):
    """The elements that our file has."""
    flat = result.detach().reshape(-1)
    if flat.numel() != math.prod(one["shape"]):
        raise ValueError(f"{one['name']}: ours has {math.prod(one['shape'])} elements, the peer's {flat.numel()}")
    first, last = one["parts"]
    return flat if last == 0 else torch.cat([flat[:first], flat[flat.numel() - last :]])


def main():
    if not ON_CPU and not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU")
    flush = Flush()
    case = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "limits":
                answer = limits(flush)
            elif request["do"] == "open":
                case, answer = opened(request)
            elif request["do"] == "time":
                answer = {"us": timed(case.peers[request["peer"]], request["runs"], flush)}
            else:
                case, answer = None, {}
        except Exception as error:
            case, answer = None, {"error": f"{type(error).__name__}: {error}"}
        if case is None and not ON_CPU:
            torch.cuda.empty_cache()
        print(json.dumps(answer), file=ANSWERS, flush=True)


main()
