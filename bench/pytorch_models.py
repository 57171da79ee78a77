# SPDX-License-Identifier: Apache-2.0
"""The models of bench/models in PyTorch, and a timed training step: run by compare_pytorch.py.

  python pytorch_models.py NAME MODE STEPS WARMUP     MODE: eager, compile, channels_last, bf16, cpu_time (joined by +)

Prints one JSON object: step_ms (median), peak_gflops (best of a 2048 x 2048 product), rss_mb, version.
"""
import json
import math
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (z.view(b, t, self.heads, -1).transpose(1, 2) for z in self.qkv(self.norm1(x)).chunk(3, -1))
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            scores = (q @ k.transpose(-2, -1)) / math.sqrt(q.shape[-1])
            mask = torch.ones(t, t, dtype=torch.bool).tril()
            y = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
        x = x + self.proj(y.transpose(1, 2).reshape(b, t, c))
        gelu = F.gelu(self.up(self.norm2(x)), approximate="tanh")
        return x + self.down(gelu)


class Gpt(nn.Module):
    def __init__(self, layers, width, heads, length, vocabulary=65):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        x = self.norm(self.blocks(x))
        return F.linear(x, self.tokens.weight)


class LstmLm(nn.Module):
    def __init__(self, width=256, vocabulary=65):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm, self.out = nn.LSTM(width, width, batch_first=True), nn.Linear(width, vocabulary)

    def forward(self, ids):
        return self.out(self.lstm(self.embedding(ids))[0])


class Basic(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        conv = lambda i, o, k, s: nn.Conv2d(i, o, k, s, k // 2, bias=False)
        self.body = nn.Sequential(conv(inside, outside, 3, stride), nn.BatchNorm2d(outside), nn.ReLU(inplace=True),
                                  conv(outside, outside, 3, 1), nn.BatchNorm2d(outside))
        self.short = nn.Identity() if stride == 1 and inside == outside else nn.Sequential(
            conv(inside, outside, 1, stride), nn.BatchNorm2d(outside))

    def forward(self, x):
        return F.relu(self.body(x) + self.short(x), inplace=True)


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    inside = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for i in range(2):
            layers.append(Basic(inside, width, 2 if i == 0 and stage > 0 else 1))
            inside = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def lenet5():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                         nn.Linear(84, 10))


def mlp(widths):
    layers = [nn.Flatten()]
    for i in range(len(widths) - 1):
        layers += [nn.Linear(widths[i], widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


# name: (model, batch, input shape of a sample, tokens, optimiser)
MODELS = {
    "mnist-mlp": (lambda: mlp([784, 512, 512, 10]), 128, (28, 28), False, torch.optim.Adam),
    "digits-mlp": (lambda: mlp([64, 128, 10]), 64, (64,), False, torch.optim.Adam),
    "lenet5": (lenet5, 64, (1, 28, 28), False, torch.optim.Adam),
    "char-lstm": (LstmLm, 32, (64,), True, torch.optim.Adam),
    "char-gpt": (lambda: Gpt(4, 128, 4, 64), 12, (64,), True, torch.optim.AdamW),
    "gpt-6x384": (lambda: Gpt(6, 384, 6, 128), 8, (128,), True, torch.optim.AdamW),
    "resnet18": (resnet18, 32, (3, 32, 32), False, lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
}


def main():
    name, mode, steps, warmup = sys.argv[1], sys.argv[2].split("+"), int(sys.argv[3]), int(sys.argv[4])
    make, batch, shape, tokens, optimizer = MODELS[name]
    torch.manual_seed(0)
    net = make()
    x = torch.randint(65, (8, batch, *shape)) if tokens else torch.randn(8, batch, *shape)
    y = torch.randint(65, (8, batch, *shape)) if tokens else torch.randint(10, (8, batch))
    xs = list(x)
    if "channels_last" in mode:
        net = net.to(memory_format=torch.channels_last)
        xs = [one.contiguous(memory_format=torch.channels_last) for one in xs]
    opt = optimizer(net.parameters(), lr=1e-3)
    bf16 = "bf16" in mode

    def loss_of(inputs, targets):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            out = net(inputs)
        return F.cross_entropy(out.float().flatten(0, -2), targets.flatten())

    if "compile" in mode:
        loss_of = torch.compile(loss_of)
    clock = time.process_time if "cpu_time" in mode else time.perf_counter
    times = []
    for step in range(steps + warmup):
        start = clock()
        opt.zero_grad()
        loss_of(xs[step % 8], y[step % 8]).backward()
        opt.step()
        times.append(clock() - start)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    a, b, best = torch.randn(2048, 2048), torch.randn(2048, 2048), 1e9
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"step_ms": statistics.median(times[warmup:]) * 1e3, "peak_gflops": 2 * 2048**3 / best * 1e-9,
                      "rss_mb": rss, "version": torch.__version__}))


if __name__ == "__main__":
    main()
