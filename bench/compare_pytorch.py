#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the same dense networks with dltrain and with PyTorch on one core, in turns, and prints the ratio.

  bench/compare_pytorch.py [--program build/release/dltrain] [--rounds 5]

Both train on random data of the same shapes in memory: forward, loss, backward and the optimiser's step. Each
round runs dltrain, then PyTorch, pinned to the same core; the figure is the median of the rounds' ratios. PyTorch
(any version; Debian's python3-torch will do) is needed here and nowhere else. The peak is the best rate of
PyTorch's own one-thread product of 2048 x 2048 matrices (oneDNN or MKL) in the same round.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

MODELS = {
    "mnist-mlp (128), sgd": dict(widths=[784, 512, 512, 10], batch=128, optimizer="sgd", steps=300),
    "mnist-mlp (128), adam": dict(widths=[784, 512, 512, 10], batch=128, optimizer="adam", steps=300),
    "digits (64), adam": dict(widths=[64, 128, 10], batch=64, optimizer="adam", steps=3000),
}


def config(model):
    layers = "".join(
        f"    - dense: {{units: {units}{', activation: relu' if i < len(model['widths']) - 2 else ''}}}\n"
        for i, units in enumerate(model["widths"][1:])
    )
    return (
        "run: {name: bench, dir: /nonexistent}\n"
        f"model:\n  input: [{model['widths'][0]}]\n  layers:\n{layers}"
        "loss: cross_entropy\n"
        "data:\n  train: {file: none, inputs: /x, targets: /y}\n"
        f"  global_batch_size: {model['batch']}\n"
        f"train: {{steps: {model['steps']}, threads: 1}}\n"
        f"optimizer: {{name: {model['optimizer']}, learning_rate: 0.001}}\n"
    )


def run_dltrain(program, core, model):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(config(model))
        file.flush()
        out = subprocess.run(
            ["taskset", "-c", core, program, "bench", file.name, "--steps", str(model["steps"]), "--warmup", "30"],
            check=True, capture_output=True, text=True).stdout
    result = json.loads(out)
    return {"step_ms": result["step_ms"]["median"], "gflops": result["gflops_per_s"], "rss": result["peak_rss_mb"]}


PYTORCH = r"""
import json, resource, statistics, sys, time, torch
torch.set_num_threads(1)
widths, batch, optimizer, steps = json.loads(sys.argv[1])
layers = []
for i in range(len(widths) - 1):
    layers.append(torch.nn.Linear(widths[i], widths[i + 1]))
    if i < len(widths) - 2:
        layers.append(torch.nn.ReLU())
net = torch.nn.Sequential(*layers)
opt = (torch.optim.SGD if optimizer == "sgd" else torch.optim.Adam)(net.parameters(), lr=1e-3)
loss_of = torch.nn.CrossEntropyLoss()
x, y = torch.randn(8, batch, widths[0]), torch.randint(widths[-1], (8, batch))
times = []
for step in range(steps + 30):
    start = time.perf_counter()
    opt.zero_grad()
    loss_of(net(x[step % 8]), y[step % 8]).backward()
    opt.step()
    times.append(time.perf_counter() - start)
a = torch.randn(2048, 2048); b = torch.randn(2048, 2048); best = 1e9
for _ in range(5):
    start = time.perf_counter(); torch.mm(a, b); best = min(best, time.perf_counter() - start)
print(json.dumps({"step_ms": statistics.median(times[30:]) * 1e3, "peak": 2 * 2048**3 / best * 1e-9,
                  "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "version": torch.__version__}))
"""


def run_pytorch(python, core, model):
    spec = json.dumps([model["widths"], model["batch"], model["optimizer"], model["steps"]])
    out = subprocess.run(["taskset", "-c", core, python, "-c", PYTORCH, spec], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--program", default="build/release/dltrain")
    options.add_argument("--python", default=sys.executable, help="a Python that has PyTorch")
    options.add_argument("--core", default=str(os.cpu_count() - 1))
    options.add_argument("--rounds", type=int, default=5)
    args = options.parse_args()
    print(f"{'model (batch)':24}{'dltrain ms':>11}{'PyTorch ms':>11}{'ratio':>7}{'GFLOP/s':>9}{'peak':>7}{'share':>7}"
          f"{'RSS MB':>8}{'PyTorch':>8}")
    for name, model in MODELS.items():
        ours, theirs = [], []
        for _ in range(args.rounds):
            ours.append(run_dltrain(args.program, args.core, model))
            theirs.append(run_pytorch(args.python, args.core, model))
        ratio = statistics.median(t["step_ms"] / o["step_ms"] for o, t in zip(ours, theirs))
        of = lambda runs, key: statistics.median(run[key] for run in runs)
        share = statistics.median(o["gflops"] / t["peak"] for o, t in zip(ours, theirs))
        print(f"{name:24}{of(ours, 'step_ms'):11.3f}{of(theirs, 'step_ms'):11.3f}{ratio:7.2f}{of(ours, 'gflops'):9.1f}"
              f"{of(theirs, 'peak'):7.1f}{share:7.0%}{of(ours, 'rss'):8.1f}{of(theirs, 'rss'):8.1f}")
    print(f"PyTorch {theirs[0]['version']}, core {args.core}, medians of {args.rounds} rounds")


if __name__ == "__main__":
    main()
