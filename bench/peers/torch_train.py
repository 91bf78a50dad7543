"""
Trains the model of torch_model.py as bench/torch.ts says: one JSON document a line on stdin, one answer a line on stdout.

    {"check": {"tokens": [[..]], "gradients": "file"}}    losses, and how far gradients lie from those in the file
    {"step": {"lr": 1e-3, "balance_rate": 2e-2}}          one step on the tokens of `check`: its losses, seconds, those of processors
"""

import argparse
import json
import sys
import time

import torch

import torch_weights
from torch_model import EXPERTS, Moe, Tiny, total

parser = argparse.ArgumentParser()
parser.add_argument("--weights", required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--experts", choices=EXPERTS, required=True)
parser.add_argument("--compile", action="store_true")
options = parser.parse_args()

torch.set_num_threads(options.threads)
model = Tiny(options.experts)
torch_weights.load(model, torch_weights.read(options.weights))
is_new = int(torch.__version__.split(".")[0]) >= 2
matrices = [p for p in model.parameters() if p.dim() >= 2]
vectors = [p for p in model.parameters() if p.dim() < 2]
groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, **({"fused": True} if is_new else {"foreach": True}))
if options.compile:
    # Their shapes change from step to step.
    for kind in EXPERTS:
        setattr(Moe, kind, torch.compiler.disable(getattr(Moe, kind)))
forward = torch.compile(model) if options.compile else model
tokens = torch.empty(0)


def numbers(losses: dict) -> dict:
    return {name: loss.item() for name, loss in losses.items()}


def check(request: dict) -> dict:
    global tokens
    tokens = torch.tensor(request["tokens"])
    losses = forward(tokens)
    total(losses).backward()
    name, distance = torch_weights.worst_gradient(model, torch_weights.read(request["gradients"]))
    return {"losses": numbers(losses), "gradient": name, "distance": distance}


def step(request: dict) -> dict:
    started, used = time.perf_counter(), time.process_time()
    for group in optimizer.param_groups:
        group["lr"] = request["lr"]
    optimizer.zero_grad(set_to_none=True)
    losses = forward(tokens)
    total(losses).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    for moe in model.moes():
        moe.update_bias(request["balance_rate"])
    losses = numbers(losses)
    return {"losses": losses, "seconds": time.perf_counter() - started, "processor": time.process_time() - used}


print(json.dumps({"torch": torch.__version__}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    answer = check(request["check"]) if "check" in request else step(request["step"])
    print(json.dumps(answer), flush=True)
