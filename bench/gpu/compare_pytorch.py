#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times a training step of a model of bench/gpu in PyTorch, as JSON: run by bench/gpu.sh.

  bench/gpu/compare_pytorch.py MODEL [--mode eager|compile] [--steps 50] [--warmup 10] [--batch N] [--device cuda]
  bench/gpu/compare_pytorch.py --try       one step of each model on the CPU with a small batch: needs no GPU

The same shapes, batch, precision and optimiser as the YAML file of that name, random data in GPU memory; forward,
loss, backward, clipping where the YAML clips, and the update. bf16 by autocast, f32 with TF32 off, fused optimisers.
Times are the host's clock around all timed steps, between two synchronisations: step_ms is their mean.
"""
import argparse
import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, layers=12, width=768, heads=12, length=1024, vocabulary=50257):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        return F.linear(self.norm(self.blocks(x)), self.tokens.weight)


class LstmLm(nn.Module):
    def __init__(self, width=256, vocabulary=65):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm, self.out = nn.LSTM(width, width, batch_first=True), nn.Linear(width, vocabulary)

    def forward(self, ids):
        return self.out(self.lstm(self.embedding(ids))[0])


class Bottleneck(nn.Module):
    def __init__(self, inside, width, stride):
        super().__init__()
        wide = 4 * width
        conv = lambda i, o, k, s: [nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o)]
        self.body = nn.Sequential(*conv(inside, width, 1, 1), nn.ReLU(inplace=True), *conv(width, width, 3, stride),
                                  nn.ReLU(inplace=True), *conv(width, wide, 1, 1))
        self.short = nn.Sequential(*conv(inside, wide, 1, stride)) if stride != 1 or inside != wide else nn.Identity()

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x), inplace=True)


def resnet50():
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    inside = 64
    for stage, count in enumerate((3, 4, 6, 3)):
        for i in range(count):
            layers.append(Bottleneck(inside, 64 << stage, 2 if i == 0 and stage > 0 else 1))
            inside = 256 << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def adamw_gpt2(net, **fused):
    decay = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=6e-4, betas=(0.9, 0.95), **fused)


def sgd(net, **fused):
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4, **fused)


def adam(net, **fused):
    return torch.optim.Adam(net.parameters(), lr=1e-3, **fused)


# name: model, batch, shape of a sample, classes, token ids, bf16, clip_norm, optimiser
MODELS = {
    "gpt2-124m": (Gpt, 32, (1024,), 50257, True, True, 1.0, adamw_gpt2),
    "resnet50": (resnet50, 256, (3, 224, 224), 1000, False, True, None, sgd),
    "mnist-mlp": (mlp, 128, (28, 28), 10, False, False, None, adam),
    "char-lstm": (LstmLm, 32, (64,), 65, True, False, None, adam),
}


def make_step(name, mode, batch, device):
    make, _, shape, classes, tokens, bf16, clip, optimizer = MODELS[name]
    torch.manual_seed(0)
    net = make().to(device)
    x = torch.randint(classes, (batch, *shape), device=device) if tokens else torch.randn(batch, *shape, device=device)
    y = torch.randint(classes, (batch, *shape) if tokens else (batch,), device=device)
    if name == "resnet50":
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    opt = optimizer(net, **({"fused": True} if device == "cuda" else {}))

    def loss_of():
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            return F.cross_entropy(net(x).flatten(0, -2), y.flatten())

    forward = torch.compile(loss_of) if mode == "compile" else loss_of

    def step():
        opt.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        opt.step()
        return loss

    return net, step


def measure(args):
    batch = args.batch or MODELS[args.model][1]
    net, step = make_step(args.model, args.mode, batch, args.device)
    wait = torch.cuda.synchronize if args.device == "cuda" else lambda: None
    for _ in range(args.warmup):
        step()
    wait()
    start = time.perf_counter()
    for _ in range(args.steps):
        loss = step()
    wait()
    seconds = (time.perf_counter() - start) / args.steps
    if not torch.isfinite(loss):
        sys.exit(f"{args.model}: the loss is {loss.item()}")
    return {"model": args.model, "mode": args.mode, "device": torch.cuda.get_device_name() if args.device == "cuda" else "cpu",
            "batch": batch, "params": sum(p.numel() for p in net.parameters()), "step_ms": seconds * 1e3,
            "samples_per_s": batch / seconds, "torch": torch.__version__, "cuda": torch.version.cuda}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", nargs="?", choices=list(MODELS))
    options.add_argument("--mode", choices=["eager", "compile"], default="eager")
    options.add_argument("--steps", type=int, default=50)
    options.add_argument("--warmup", type=int, default=10)
    options.add_argument("--batch", type=int)
    options.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    options.add_argument("--try", dest="try_all", action="store_true")
    args = options.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    if args.try_all:
        args.device, args.batch, args.steps, args.warmup = "cpu", 1 if args.batch is None else args.batch, 1, 0
        for args.model in MODELS:
            if args.model == "resnet50":
                args.batch = 2  # batch_norm of one value a channel would be refused
            print(json.dumps(measure(args)), flush=True)
        return
    if args.model is None:
        options.error("MODEL is missing")
    if args.device == "cuda" and not torch.cuda.is_available():
        print("no GPU that PyTorch can use", file=sys.stderr)
        sys.exit(69)
    print(json.dumps(measure(args)))


if __name__ == "__main__":
    main()
