#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the models of bench/models with dltrain and with PyTorch on one core, in turns, and prints the ratio.

  bench/compare_pytorch.py [MODEL ...] [--program build/release/dltrain] [--python PYTHON ...] [--modes eager compile]
                           [--rounds 5] [--seconds 4] [--bf16] [--clock cpu] [--peak GFLOPS]

Both train on random data of the same shapes in memory: forward, loss, backward and the optimiser's step. Each round
runs dltrain, then PyTorch in each mode, pinned to the same core; the figure is the median of the rounds' ratios against
the fastest mode. PyTorch is needed here and nowhere else; --python names Pythons that have it (several to compare with
more than one version). The peak is --peak, or the best rate of PyTorch's one-thread product of 2048 x 2048 matrices in
that round. --clock cpu compares processor time, for machines that are not quiet; both sides run on one thread.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ["mnist-mlp", "lenet5", "char-lstm", "char-gpt", "gpt-6x384", "resnet18", "digits-mlp"]


def run(words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout[done.stdout.index("{"):])


def run_dltrain(args, model, steps):
    words = ["taskset", "-c", args.core, args.program, "bench", HERE / "models" / f"{model}.yaml", "--steps", str(steps),
             "--warmup", str(max(3, steps // 10))]
    if args.bf16:
        words += ["--set", "train.precision=bf16"]
    return run(words)


def run_pytorch(args, python, model, mode, steps):
    mode = "+".join([mode] + ["bf16"] * args.bf16 + ["cpu_time"] * (args.clock == "cpu"))
    return run(["taskset", "-c", args.core, python, HERE / "pytorch_models.py", model, mode, str(steps),
                str(max(3, steps // 10))])


def step_ms(args, ours):
    return ours["step_cpu_ms"] if args.clock == "cpu" else ours["step_ms"]["median"]


def compare(args, model):
    probe = run_dltrain(args, model, 5)
    steps = max(5, int(args.seconds * 1000 / probe["step_ms"]["median"]))
    ours, theirs = [], {}
    modes = args.modes + (["channels_last"] if model in ("lenet5", "resnet18") else [])
    for _ in range(args.rounds):
        ours.append(run_dltrain(args, model, steps))
        for python in args.python:
            for mode in modes:
                one = run_pytorch(args, python, model, mode, steps)
                theirs.setdefault((one["version"], mode), []).append(one)
    of = lambda runs, key: statistics.median(run[key] for run in runs)
    ms = statistics.median(step_ms(args, o) for o in ours)
    best = min(theirs, key=lambda key: of(theirs[key], "step_ms"))
    ratio = statistics.median(t["step_ms"] / step_ms(args, o) for o, t in zip(ours, theirs[best]))
    peak = args.peak or statistics.median(max(runs[i]["peak_gflops"] for runs in theirs.values()) for i in range(args.rounds))
    gflops = statistics.median(o["gflops_per_s"] * o["step_ms"]["median"] / step_ms(args, o) for o in ours)
    print(f"{model:12}{ms:10.3f}{of(theirs[best], 'step_ms'):12.3f}{ratio:7.2f}{gflops:9.1f}{peak:7.1f}"
          f"{gflops / peak:7.0%}{of(ours, 'peak_rss_mb'):8.0f}{of(theirs[best], 'rss_mb'):9.0f}   {' '.join(best)}", flush=True)
    for (version, mode), runs in sorted(theirs.items()):
        print(f"{'':12}  {version} {mode}: {of(runs, 'step_ms'):.3f} ms, {of(runs, 'rss_mb'):.0f} MB", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("models", nargs="*", default=MODELS, help=", ".join(MODELS))
    options.add_argument("--program", default="build/release/dltrain")
    options.add_argument("--python", nargs="+", default=[sys.executable])
    options.add_argument("--modes", nargs="+", default=["eager"])
    options.add_argument("--core", default=str(os.cpu_count() - 1))
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=4, help="of dltrain's part of a round")
    options.add_argument("--bf16", action="store_true", help="train.precision bf16 against autocast")
    options.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options.add_argument("--peak", type=float, help="GFLOP/s that the share is of")
    args = options.parse_args()
    print(f"{'model':12}{'dltrain ms':>10}{'PyTorch ms':>12}{'ratio':>7}{'GFLOP/s':>9}{'peak':>7}{'share':>7}{'RSS MB':>8}"
          f"{'PyTorch':>9}   fastest PyTorch")
    for model in args.models or MODELS:
        compare(args, model)


if __name__ == "__main__":
    main()
