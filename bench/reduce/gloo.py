#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Median time of torch.distributed's gloo allreduce between two processes of this machine, one core each.
    gloo.py [--rounds N] [BYTES ...]"""
import argparse
import os
import statistics
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run(rank, args, file):
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for size in args.bytes:
        tensor = torch.ones(max(1, size // 4))
        steps = min(1000, max(2, (32 << 20) // size))
        rounds = []
        for _ in range(args.rounds + 2):
            total = 0.0
            for _ in range(steps):
                tensor.fill_(1.0)
                dist.barrier()
                start = time.perf_counter()
                dist.all_reduce(tensor)
                total += time.perf_counter() - start
            rounds.append(total / steps * 1e6)
        if rank == 0:
            print(f"{size:10d} {statistics.median(rounds[2:]):11.2f}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("bytes", type=int, nargs="*")
    args = parser.parse_args()
    args.bytes = args.bytes or [8, 4 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20]
    print(f"     bytes        gloo  (median us, torch {torch.__version__})", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(run, (args, os.path.join(folder, "meeting")), nprocs=2)
