# SPDX-License-Identifier: Apache-2.0
"""A rank of PyTorch's DistributedDataParallel over gloo, on a model of bench/models: run by measure.py, one a host.

  python pytorch_ddp.py NAME RANK WORLD_SIZE STORE SECONDS      STORE: a file that all ranks see

Times steps without communication (the ranks beside each other, no DDP) and with DDP; rank 0 prints one JSON object.
"""
import json
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import torch
import torch.distributed as dist
import torch.nn.functional as F

from pytorch_models import MODELS


def timed_steps(net, optimizer, batches, seconds):
    """Medians over as many steps as rank 0 finds fit into the time."""
    times, count = [], 4
    step = 0
    while step < count + 3:
        x, y = batches[step % len(batches)]
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(net(x).flatten(0, -2), y.flatten()).backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
        step += 1
        if step == 3:  # all ranks make the same number of steps
            agreed = torch.tensor([max(4.0, seconds / times[-1])])
            dist.broadcast(agreed, 0)
            count = min(400, int(agreed.item()))
    return statistics.median(times[3:]) * 1e3


def main():
    name, rank, world_size, store, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    make, batch, shape, tokens, optimizer = MODELS[name]
    torch.manual_seed(0)
    net = make()
    batches = []
    for _ in range(8):
        x = torch.randint(65, (batch, *shape)) if tokens else torch.randn(batch, *shape)
        y = torch.randint(65, (batch, *shape)) if tokens else torch.randint(10, (batch,))
        batches.append((x, y))
    dist.barrier()
    alone_ms = timed_steps(net, optimizer(net.parameters(), lr=1e-3), batches, seconds / 2)
    dist.barrier()
    ddp = torch.nn.parallel.DistributedDataParallel(net)
    ddp_ms = timed_steps(ddp, optimizer(ddp.parameters(), lr=1e-3), batches, seconds)
    if rank == 0:
        gradient_bytes = sum(p.numel() for p in net.parameters()) * 4
        print(json.dumps({"alone_ms": alone_ms, "ddp_ms": ddp_ms, "gradient_bytes": gradient_bytes,
                          "version": torch.__version__}))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
