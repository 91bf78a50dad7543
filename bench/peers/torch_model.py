"""The model of specs/quickstart.dsk in PyTorch, written as one would there. Parameters and buffers have dskc's names."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# How the routed experts may be computed: a loop over them, `grouped_mm` of PyTorch 2.10 or newer, or one batched product of as
# many rows for each expert as the fullest one has.
EXPERTS = ("loop", "grouped", "padded")


class RmsNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-6)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class SwiGlu(nn.Module):
    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Mla(nn.Module):
    """Multi-head latent attention (DeepSeek-V2 section 2.1.2); pairs of the rotary embedding are (2i, 2i + 1)."""

    def __init__(self, width=128, heads=4, q_latent=64, latent=48, content=32, rotary=16, value=32, positions=4096):
        super().__init__()
        self.heads, self.latent, self.content, self.rotary, self.value = heads, latent, content, rotary, value
        self.wq_a = nn.Linear(width, q_latent, bias=False)
        self.q_norm = RmsNorm(q_latent)
        self.wq_b = nn.Linear(q_latent, heads * (content + rotary), bias=False)
        self.wkv_a = nn.Linear(width, latent + rotary, bias=False)
        self.kv_norm = RmsNorm(latent)
        self.wkv_b = nn.Linear(latent, heads * (content + value), bias=False)
        self.wo = nn.Linear(heads * value, width, bias=False)
        angle = torch.outer(torch.arange(positions), 10_000.0 ** (-torch.arange(rotary // 2) / (rotary // 2)))
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def rope(self, x: Tensor) -> Tensor:
        """x: [.., L, R]"""
        a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = self.cos[: x.shape[-2]], self.sin[: x.shape[-2]]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, L, D]"""
        (B, L, _), H = x.shape, self.heads
        q = self.wq_b(self.q_norm(self.wq_a(x))).view(B, L, H, -1).transpose(1, 2)
        q = torch.cat((q[..., : self.content], self.rope(q[..., self.content :])), -1)
        latent, key_pe = self.wkv_a(x).split((self.latent, self.rotary), -1)
        kv = self.wkv_b(self.kv_norm(latent)).view(B, L, H, -1).transpose(1, 2)
        key_pe = self.rope(key_pe).unsqueeze(1).expand(B, H, L, self.rotary)
        k = torch.cat((kv[..., : self.content], key_pe), -1)
        # The fast kernel wants values as wide as keys.
        v = F.pad(kv[..., self.content :], (0, self.content + self.rotary - self.value))
        if hasattr(F, "scaled_dot_product_attention"):
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            future = torch.ones(L, L, dtype=torch.bool).triu(1)
            scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(future, float("-inf"))
            out = scores.softmax(-1) @ v
        return self.wo(out[..., : self.value].transpose(1, 2).flatten(2))


class Moe(nn.Module):
    """Fine-grained and shared experts with auxiliary-loss-free balancing (DeepSeek-V3 section 2.1.2)."""

    def __init__(self, kind: str, width=128, experts=16, inner=48, chosen=4, groups=4, keep=2, shared=96, scale=2.5):
        super().__init__()
        self.kind, self.inner, self.chosen, self.groups, self.keep, self.scale = kind, inner, chosen, groups, keep, scale
        self.gate = nn.Linear(width, experts, bias=False)
        self.register_buffer("bias", torch.zeros(experts))
        self.shared = SwiGlu(width, shared)
        # As grouped_mm takes them: [E, in, out].
        self.gate_up = nn.Parameter(torch.empty(experts, width, 2 * inner))
        self.down = nn.Parameter(torch.empty(experts, inner, width))

    def route(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Experts and weights [B, L, K], and the balance loss over each sequence (Eq. 17-20)."""
        affinity = self.gate(x).sigmoid()
        with torch.no_grad():
            biased = (affinity + self.bias).unflatten(-1, (self.groups, -1))
            best = biased.topk(2, -1)[0].sum(-1).topk(self.keep, -1)[1]
            kept = torch.zeros(biased.shape[:-1], dtype=torch.bool).scatter_(-1, best, True)
            biased = biased.masked_fill(~kept.unsqueeze(-1), float("-inf")).flatten(-2)
            chosen = biased.topk(self.chosen, -1, sorted=False)[1]
            plain = affinity.topk(self.chosen, -1, sorted=False)[1]
            share = torch.zeros_like(affinity).scatter_(-1, plain, 1.0).mean(1)
        weight = affinity.gather(-1, chosen)
        weight = weight / (weight.sum(-1, keepdim=True) + 1e-20) * self.scale
        each = (affinity / (affinity.sum(-1, keepdim=True) + 1e-20)).mean(1)
        balance = (share * each).sum(-1).mean() * affinity.shape[-1] / self.chosen
        return chosen, weight, balance

    def swiglu(self, x: Tensor, product) -> Tensor:
        gate, up = product(x, self.gate_up).chunk(2, -1)
        return product(F.silu(gate) * up, self.down)

    def loop(self, rows: Tensor, load: Tensor) -> Tensor:
        parts = zip(rows.split(load.tolist()), self.gate_up.unbind(0), self.down.unbind(0))
        outs = []
        for x, gate_up, down in parts:
            gate, up = (x @ gate_up).chunk(2, -1)
            outs.append((F.silu(gate) * up) @ down)
        return torch.cat(outs)

    def grouped(self, rows: Tensor, load: Tensor) -> Tensor:
        ends = load.cumsum(0).to(torch.int32)
        return self.swiglu(rows, lambda x, w: F.grouped_mm(x, w, offs=ends))

    def padded(self, rows: Tensor, load: Tensor) -> Tensor:
        experts, most = load.shape[0], int(load.max())
        expert = torch.repeat_interleave(torch.arange(experts), load)
        place = expert * most + torch.arange(rows.shape[0]) - (load.cumsum(0) - load)[expert]
        full = rows.new_zeros(experts * most, rows.shape[1]).index_copy(0, place, rows)
        return self.swiglu(full.view(experts, most, -1), torch.bmm).flatten(0, 1).index_select(0, place)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        chosen, weight, balance = self.route(x)
        flat = x.flatten(0, 1)
        order = chosen.flatten().argsort(stable=True)
        token = order.div(self.chosen, rounding_mode="floor")
        self.load = torch.bincount(chosen.flatten(), minlength=self.bias.shape[0])
        rows = getattr(self, self.kind)(flat.index_select(0, token), self.load)
        rows = rows * weight.flatten().index_select(0, order).unsqueeze(-1)
        return torch.zeros_like(flat).index_add(0, token, rows).view_as(x) + self.shared(x), balance

    @torch.no_grad()
    def update_bias(self, rate: float) -> None:
        load = self.load.float()
        self.bias += rate * (load.mean() - load).sign()


class Decoder(nn.Module):
    def __init__(self, experts: str, dense: bool, width=128):
        super().__init__()
        self.norm_mixer, self.mixer, self.norm_ffn = RmsNorm(width), Mla(width), RmsNorm(width)
        self.ffn = SwiGlu(width, 352) if dense else Moe(experts, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.mixer(self.norm_mixer(x))
        y = self.ffn(self.norm_ffn(x))
        y, balance = y if isinstance(y, tuple) else (y, x.new_zeros(()))
        return x + y, balance


class PredictAhead(nn.Module):
    """A module of multi-token prediction (DeepSeek-V3 section 2.2)."""

    def __init__(self, experts: str, width=128):
        super().__init__()
        self.norm_embed, self.norm_hidden, self.norm = RmsNorm(width), RmsNorm(width), RmsNorm(width)
        self.join = nn.Linear(2 * width, width, bias=False)
        self.layer = Decoder(experts, False, width)

    def forward(self, hidden: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
        x, balance = self.layer(self.join(torch.cat((self.norm_embed(embedding), self.norm_hidden(hidden)), -1)))
        return self.norm(x), balance


class Tiny(nn.Module):
    def __init__(self, experts: str, vocabulary=1024, width=128):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.trunk = nn.ModuleList(Decoder(experts, i == 0, width) for i in range(4))
        self.norm = RmsNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.mtp = nn.ModuleList([PredictAhead(experts, width)])

    def moes(self) -> list[Moe]:
        return [module for module in self.modules() if isinstance(module, Moe)]

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """The losses for tokens [B, L + 2]: the last two of each sequence are only predicted."""
        x, balance = self.embed(tokens[:, :-2]), 0
        for layer in self.trunk:
            x, own = layer(x)
            balance = balance + own
        hidden = self.norm(x)
        ahead, own = self.mtp[0](hidden, self.embed(tokens[:, 1:-1]))

        def loss(x: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(self.head(x).flatten(0, 1), targets.flatten())

        return {
            "next_token": loss(hidden, tokens[:, 1:-1]),
            "sequence_balance": balance + own,
            "mtp": loss(ahead, tokens[:, 2:]),
        }


WEIGHTS = {"next_token": 1.0, "sequence_balance": 1e-4, "mtp": 0.3}


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(WEIGHTS[name] * loss for name, loss in losses.items())
