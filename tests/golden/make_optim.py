#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes optim.txt: parameters after some steps of PyTorch's optimisers, for tests/optim.

Made with PyTorch 1.13.1 (Debian's python3-torch), in f64:  python3 tests/golden/make_optim.py
Start and gradients are the formulas below; the test has the same ones.
"""
import pathlib

import torch

SIZE = 8
STEPS = (1, 2, 10, 100)


def start():
    return torch.tensor([(i * 29 % 31 - 15) / 16 for i in range(SIZE)], dtype=torch.float64)


def gradient(step):
    values = [((i * 37 + step * 17) % 101 - 50) / 64 for i in range(SIZE)]
    return torch.tensor(values, dtype=torch.float64)


CASES = {
    "sgd": ("{name: sgd, learning_rate: 0.05}", lambda p: torch.optim.SGD([p], lr=0.05)),
    "sgd_decay": (
        "{name: sgd, learning_rate: 0.05, weight_decay: 0.1}",
        lambda p: torch.optim.SGD([p], lr=0.05, weight_decay=0.1),
    ),
    "sgd_momentum": (
        "{name: sgd, learning_rate: 0.01, momentum: 0.9, weight_decay: 0.01}",
        lambda p: torch.optim.SGD([p], lr=0.01, momentum=0.9, weight_decay=0.01),
    ),
    "sgd_nesterov": (
        "{name: sgd, learning_rate: 0.01, momentum: 0.8, nesterov: true}",
        lambda p: torch.optim.SGD([p], lr=0.01, momentum=0.8, nesterov=True),
    ),
    "adam": ("{name: adam}", lambda p: torch.optim.Adam([p], lr=0.001)),
    "adam_l2": (
        "{name: adam, learning_rate: 0.02, betas: [0.8, 0.95], eps: 1.0e-3, weight_decay: 0.1}",
        lambda p: torch.optim.Adam([p], lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    ),
    "adamw": ("{name: adamw}", lambda p: torch.optim.AdamW([p], lr=0.001)),
    "adamw_decay": (
        "{name: adamw, learning_rate: 0.02, betas: [0.0, 0.9], weight_decay: 0.3}",
        lambda p: torch.optim.AdamW([p], lr=0.02, betas=(0.0, 0.9), weight_decay=0.3),
    ),
}


def main():
    lines = ["# made by make_optim.py; case | config, then case | steps done | parameters"]
    for name, (config, make) in CASES.items():
        lines.append(f"{name} | {config}")
        param = torch.nn.Parameter(start())
        optimizer = make(param)
        for step in range(max(STEPS)):
            param.grad = gradient(step)
            optimizer.step()
            if step + 1 in STEPS:
                values = " ".join(f"{v:.12g}" for v in param.detach().tolist())
                lines.append(f"{name} | {step + 1} | {values}")
    path = pathlib.Path(__file__).with_name("optim.txt")
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
