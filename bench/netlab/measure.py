#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures steps inside the network laboratory (bench/netlab/hosts.sh, on its first host); called by bench/netlab.sh.

  measure.py --program P [--wire W] [--python PY ...] [--models M ...] [--seconds S] [--set K=V ...] [--vary K=V ...]

For each model, one rank a host, each with the model's batch and one thread:
  alone     median step with no communication, all hosts computing at once (the slowest)
  overlap   median step, gradients moving while backward runs; and with comm.overlap: false
  wire      the plan's: bytes a rank sends / what a bare TCP connection moves
  backward  two thirds of forward and backward: what could hide communication
  exposed   overlap - alone; may: max(0, wire - backward); the last column before the gain is their ratio
  gain      how much shorter the step is than without overlap
  plan      what `dltrain plan` predicts from a step measured alone, and predicted / measured
With --set every run and plan has these settings; with --vary there is a row with each of those beside (none: with none).
Where comm.sync_every is set, steps are means over whole rounds instead of medians. The lab's line lets what follows a pause
of 2 ms (2.6 at 100 Mbit/s) travel so much faster, once a step, which the plan does not know.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LAB = os.environ.get("NETLAB", "")


def start(words):
    return subprocess.Popen([str(w) for w in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate()
    if process.returncode != 0:
        sys.exit(f"{' '.join(process.args)}: exit {process.returncode}\n{err[-2000:]}")
    return json.loads(out[out.index("{"):])


def run(words):
    return finish(start(words))


class Lab:
    def __init__(self, args):
        self.args = args
        self.hosts = pathlib.Path(LAB, "hosts").read_text().split()

    def on(self, host, words):
        return start([f"{LAB}/on", host, *words])

    def bench_words(self, model, steps, sets):
        words = [self.args.program, "bench", HERE.parent / "models" / f"{model}.yaml", "--steps", steps, "--warmup",
                 max(1, steps // 10)]
        for one in sets:
            words += ["--set", one]
        return words

    def alone(self, model, steps):
        """One rank on each host, at the same time, none knowing of the others."""
        results = [finish(p) for p in [self.on(h, self.bench_words(model, steps, [])) for h in self.hosts]]
        return max(results, key=lambda r: r["step_ms"]["median"])

    def together(self, model, steps, batch, sets):
        """Bench's report, with the step as step_ms."""
        n = len(self.hosts)
        every = sync_every(sets)
        steps = -(-steps // every) * every
        words = [f"data.global_batch_size={batch * n}", f"train.leaves={n}", *sets]
        result = run([f"{LAB}/mpirun", "-n", n, *self.bench_words(model, steps, words)])
        mean_ms = batch * n / result["samples_per_s"] * 1e3
        result["step_ms"] = mean_ms if every > 1 else result["step_ms"]["median"]
        return result

    def plan(self, model, line_gb_s, latency_us, sets):
        words = [self.args.program, "plan", HERE.parent / "models" / f"{model}.yaml", "--ranks", len(self.hosts),
                 "--bandwidth-gbps", line_gb_s * 8, "--latency-us", latency_us, "--scaling", "weak", "--json"]
        for one in sets:
            words += ["--set", one]
        # As measured: both hosts compute.
        plans = [finish(p) for p in [self.on(h, words) for h in self.hosts]]
        return max(plans, key=lambda p: p["rows"][1]["step_ms"])

    def pytorch(self, python, model):
        with tempfile.TemporaryDirectory() as folder:
            ranks = [self.on(h, ["env", "GLOO_SOCKET_IFNAME=eth0", python, HERE / "pytorch_ddp.py", model, i,
                                 len(self.hosts), f"{folder}/store", self.args.seconds])
                     for i, h in enumerate(self.hosts)]
            for rank in ranks[1:]:
                rank.stdout.close()
            result = finish(ranks[0])
            for rank in ranks[1:]:
                rank.wait()
            return result


def wire_table(lab):
    """GB/s of a bare connection at 4 MB, and microseconds of a small message."""
    out = subprocess.run([f"{LAB}/mpirun", "-n", "2", lab.args.wire, *map(str, lab.args.sizes)],
                         capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(out.stderr[-2000:])
    print(out.stdout, flush=True)
    rows = [line.split() for line in out.stdout.splitlines() if re.match(r"\s*[\d.]+\s+[\d.]+\s", line)]
    latency = re.search(r"latency ([\d.]+)", out.stdout)
    return float(max(rows, key=lambda r: float(r[0]) if float(r[0]) <= 4 else 0)[1]), float(latency.group(1))


def sync_every(sets):
    return max([int(s.split("=")[1]) for s in sets if s.startswith("comm.sync_every=")], default=1)


def measure(lab, model, line_gb_s, latency_us, sets):
    text = (HERE.parent / "models" / f"{model}.yaml").read_text()
    batch = int(re.search(r"global_batch_size: (\d+)", text).group(1))
    n = len(lab.hosts)
    plan = lab.plan(model, line_gb_s, latency_us, sets)
    steps_of = lambda ms: int(min(400, max(3, lab.args.seconds * 1e3 / ms)))
    steps = steps_of(plan["rows"][1]["step_ms"])
    rounds = [{"plan": lab.plan(model, line_gb_s, latency_us, sets),
               "alone": lab.alone(model, steps_of(plan["rows"][0]["step_ms"])),
               "overlap": lab.together(model, steps, batch, sets),
               "plain": lab.together(model, steps, batch, [*sets, "comm.overlap=false"])} for _ in range(lab.args.rounds)]
    for r in rounds:
        r["alone"]["step_ms"] = r["alone"]["step_ms"]["median"]
        r["plan"]["step_ms"] = r["plan"]["rows"][1]["step_ms"]
    ms = {key: statistics.median(r[key]["step_ms"] for r in rounds) for key in rounds[0]}
    wire = plan["rows"][1]["wire_ms"]
    alone = rounds[0]["alone"]
    backward = 2 / 3 * ms["alone"] * alone["share"]["compute"]
    may = max(0.0, wire - backward)
    exposed = ms["overlap"] - ms["alone"]
    waited = statistics.median(r["overlap"]["share"]["comm"] * r["overlap"]["step_ms"] for r in rounds)
    ratio = f"{exposed / may:6.2f}" if may > 0.02 * wire else "     -"
    print(f"{model:10}{ms['alone']:9.2f}{ms['overlap']:9.2f}{ms['plain']:11.2f}{wire:9.2f}{backward:10.2f}"
          f"{exposed:9.2f}{waited:8.2f}{may:8.2f} {ratio}{1 - ms['overlap'] / ms['plain']:8.0%}"
          f"{ms['plan']:10.2f}{ms['plan'] / ms['overlap']:7.2f}", flush=True)
    return ms["overlap"], wire


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--program", required=True)
    options.add_argument("--wire", help="wire_bench; without it --line-gb-s is taken")
    options.add_argument("--sizes", nargs="+", type=float, default=[0.25, 1, 4, 16])
    options.add_argument("--line-gb-s", type=float, default=0.119)
    options.add_argument("--latency-us", type=float, default=50)
    options.add_argument("--python", nargs="*", default=[], help="Pythons with torch")
    options.add_argument("--models", nargs="*", default=["mnist-mlp", "resnet18", "char-gpt"])
    options.add_argument("--set", action="append", default=[], help="a setting of every run: comm.bucket_mb=1")
    options.add_argument("--vary", nargs="*", default=["none"], help="a row with each: none comm.compression=int8")
    options.add_argument("--seconds", type=float, default=3, help="of each measurement")
    options.add_argument("--rounds", type=int, default=3)
    args = options.parse_args()
    if not LAB:
        sys.exit("measure.py runs inside bench/netlab/hosts.sh")
    lab = Lab(args)
    line, latency = wire_table(lab) if args.wire else (args.line_gb_s, args.latency_us)
    print(f"{'model':10}{'alone':>9}{'overlap':>9}{'no overlap':>11}{'wire':>9}{'backward':>10}{'exposed':>9}{'waited':>8}"
          f"{'may':>8}{'ratio':>7}{'gain':>8}{'plan':>10}{'/meas':>7}   (ms)")
    ours = {}
    for model in args.models:
        for vary in args.vary:
            if vary != "none":
                print(vary, flush=True)
            row = measure(lab, model, line, latency, [*args.set, *([] if vary == "none" else [vary])])
            ours.setdefault(model, row)
    for python in args.python:
        for model in args.models:
            theirs = lab.pytorch(python, model)
            exposed = theirs["ddp_ms"] - theirs["alone_ms"]
            print(f"{model:10} PyTorch {theirs['version']} DDP, gloo: alone {theirs['alone_ms']:.2f} ms, step "
                  f"{theirs['ddp_ms']:.2f} ms, exposed {exposed:.2f} ms = {exposed / ours[model][1]:.2f} x wire; "
                  f"dltrain's step is {theirs['ddp_ms'] / ours[model][0]:.2f} x as fast", flush=True)


if __name__ == "__main__":
    main()
