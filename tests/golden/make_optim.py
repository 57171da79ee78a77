#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes optim.txt, schedules.txt and averages.txt for tests/optim: trajectories of PyTorch's
optimisers, factors of its schedules, its averages of weights.

Made with PyTorch 2.5.1 in f64:  python3 tests/golden/make_optim.py
What PyTorch lacks (Lion, LARS, LAMB, warm-up-stable-decay, inverse square root) is written here in
f64 after the papers. Start, gradients and the rest are the formulas below; the tests have the same.
"""
import math
import pathlib

import torch
from torch.optim import lr_scheduler, swa_utils

SIZES = (5, 3)  # two parameters
STEPS = (1, 2, 10, 100)


def split(values):
    values = torch.tensor(values, dtype=torch.float64)
    return list(values.split(SIZES))


def start():
    return split([(i * 29 % 31 - 15) / 16 for i in range(sum(SIZES))])


def gradient(step):
    return split([((i * 37 + step * 17) % 101 - 50) / 64 for i in range(sum(SIZES))])


class Reference:
    """An optimiser that PyTorch lacks: update(p, grad, state, t) for each parameter."""

    def __init__(self, params, update):
        self.params, self.update, self.t = params, update, 0
        self.states = [{} for _ in params]

    def step(self):
        self.t += 1
        with torch.no_grad():
            for p, state in zip(self.params, self.states):
                self.update(p, p.grad, state, self.t)


def lion(params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
    """Chen et al. 2023, arXiv:2302.06675, program 1."""

    def update(p, g, state, t):
        m = state.get("m", torch.zeros_like(p))
        direction = torch.sign(betas[0] * m + (1 - betas[0]) * g)
        p.sub_(lr * (direction + weight_decay * p))
        state["m"] = betas[1] * m + (1 - betas[1]) * g

    return Reference(params, update)


def lars(params, lr, momentum=0.9, weight_decay=0.0, trust=0.001):
    """You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1."""

    def update(p, g, state, t):
        w, n = p.norm(), g.norm()
        ratio = trust * w / (n + weight_decay * w)
        state["b"] = momentum * state.get("b", 0) + lr * ratio * (g + weight_decay * p)
        p.sub_(state["b"])

    return Reference(params, update)


def lamb(params, lr=0.001, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
    """You et al. 2020, arXiv:1904.00962, algorithm 2 with phi(z) = z."""

    def update(p, g, state, t):
        state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        m, v = state["m"] / (1 - betas[0] ** t), state["v"] / (1 - betas[1] ** t)
        r = m / (v.sqrt() + eps) + weight_decay * p
        p.sub_(lr * p.norm() / r.norm() * r)

    return Reference(params, update)


CASES = {
    "sgd": ("{name: sgd, learning_rate: 0.05}", lambda p: torch.optim.SGD(p, lr=0.05)),
    "sgd_decay": (
        "{name: sgd, learning_rate: 0.05, weight_decay: 0.1}",
        lambda p: torch.optim.SGD(p, lr=0.05, weight_decay=0.1),
    ),
    "sgd_momentum": (
        "{name: sgd, learning_rate: 0.01, momentum: 0.9, weight_decay: 0.01}",
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.01),
    ),
    "sgd_nesterov": (
        "{name: sgd, learning_rate: 0.01, momentum: 0.8, nesterov: true}",
        lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8, nesterov=True),
    ),
    "adam": ("{name: adam}", lambda p: torch.optim.Adam(p, lr=0.001)),
    "adam_l2": (
        "{name: adam, learning_rate: 0.02, betas: [0.8, 0.95], eps: 1.0e-3, weight_decay: 0.1}",
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    ),
    "adamw": ("{name: adamw}", lambda p: torch.optim.AdamW(p, lr=0.001)),
    "adamw_decay": (
        "{name: adamw, learning_rate: 0.02, betas: [0.0, 0.9], weight_decay: 0.3}",
        lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.0, 0.9), weight_decay=0.3),
    ),
    "adam_amsgrad": (
        "{name: adam, learning_rate: 0.02, betas: [0.8, 0.9], amsgrad: true}",
        lambda p: torch.optim.Adam(p, lr=0.02, betas=(0.8, 0.9), amsgrad=True),
    ),
    "adamw_amsgrad": (
        "{name: adamw, learning_rate: 0.01, amsgrad: true}",
        lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    ),
    "adadelta": ("{name: adadelta}", torch.optim.Adadelta),
    "adadelta_decay": (
        "{name: adadelta, learning_rate: 0.5, rho: 0.95, eps: 1.0e-4, weight_decay: 0.1}",
        lambda p: torch.optim.Adadelta(p, lr=0.5, rho=0.95, eps=1e-4, weight_decay=0.1),
    ),
    "adagrad": ("{name: adagrad}", torch.optim.Adagrad),
    "adagrad_decay": (
        "{name: adagrad, learning_rate: 0.1, lr_decay: 0.01, initial_accumulator_value: 0.1, "
        "eps: 1.0e-4, weight_decay: 0.1}",
        lambda p: torch.optim.Adagrad(
            p, lr=0.1, lr_decay=0.01, initial_accumulator_value=0.1, eps=1e-4, weight_decay=0.1
        ),
    ),
    "adamax": ("{name: adamax}", torch.optim.Adamax),
    "adamax_decay": (
        "{name: adamax, learning_rate: 0.02, betas: [0.8, 0.95], eps: 1.0e-3, weight_decay: 0.1}",
        lambda p: torch.optim.Adamax(p, lr=0.02, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1),
    ),
    "nadam": ("{name: nadam}", torch.optim.NAdam),
    "nadam_decay": (
        "{name: nadam, learning_rate: 0.01, betas: [0.8, 0.95], weight_decay: 0.1, "
        "momentum_decay: 0.01}",
        lambda p: torch.optim.NAdam(
            p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1, momentum_decay=0.01
        ),
    ),
    "nadam_decoupled": (
        "{name: nadam, weight_decay: 0.1, decoupled_weight_decay: true}",
        lambda p: torch.optim.NAdam(p, weight_decay=0.1, decoupled_weight_decay=True),
    ),
    "rmsprop": ("{name: rmsprop}", torch.optim.RMSprop),
    "rmsprop_momentum": (
        "{name: rmsprop, learning_rate: 0.005, alpha: 0.9, momentum: 0.8, weight_decay: 0.1}",
        lambda p: torch.optim.RMSprop(p, lr=0.005, alpha=0.9, momentum=0.8, weight_decay=0.1),
    ),
    "rmsprop_centered": (
        "{name: rmsprop, alpha: 0.9, eps: 1.0e-3, centered: true}",
        lambda p: torch.optim.RMSprop(p, alpha=0.9, eps=1e-3, centered=True),
    ),
    "rmsprop_all": (
        "{name: rmsprop, learning_rate: 0.002, momentum: 0.5, centered: true}",
        lambda p: torch.optim.RMSprop(p, lr=0.002, momentum=0.5, centered=True),
    ),
    "lion": ("{name: lion}", lion),
    "lion_decay": (
        "{name: lion, learning_rate: 0.003, betas: [0.95, 0.98], weight_decay: 0.1}",
        lambda p: lion(p, lr=0.003, betas=(0.95, 0.98), weight_decay=0.1),
    ),
    "lars": ("{name: lars}", lambda p: lars(p, lr=0.1)),
    "lars_decay": (
        "{name: lars, learning_rate: 2.0, momentum: 0.8, weight_decay: 0.05, "
        "trust_coefficient: 0.01}",
        lambda p: lars(p, lr=2.0, momentum=0.8, weight_decay=0.05, trust=0.01),
    ),
    "lamb": ("{name: lamb}", lamb),
    "lamb_decay": (
        "{name: lamb, learning_rate: 0.01, betas: [0.8, 0.95], eps: 1.0e-4, weight_decay: 0.1}",
        lambda p: lamb(p, lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.1),
    ),
}


TOTAL = 100


def torch_factors(make):
    """What a scheduler makes of a learning rate of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(TOTAL):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def warmed(after, warmup):
    """Linear warm-up, then another: the steps of the second count from the end of the first."""
    return lambda o: lr_scheduler.SequentialLR(
        o,
        [lr_scheduler.LambdaLR(o, lambda s: (s + 1) / warmup), after(o)],
        milestones=[warmup],
    )


def stable_decay(warmup, decay, end, shape):
    def factor(step):
        if step < warmup:
            return (step + 1) / warmup
        into = max(step - (TOTAL - decay), 0) / decay
        return 1 - shape(into) * (1 - end)

    return [factor(s) for s in range(TOTAL)]


SCHEDULES = {
    "{name: step, step_size: 30, gamma: 0.5}": lambda o: lr_scheduler.StepLR(o, 30, 0.5),
    "{name: cosine, end_factor: 0.1}": lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL, 0.1),
    "{name: cosine, warmup_steps: 10}": warmed(
        lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL - 10), 10
    ),
    "{name: linear, end_factor: 0.25}": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.25, TOTAL),
    "{name: exponential, gamma: 0.97}": lambda o: lr_scheduler.ExponentialLR(o, 0.97),
    "{name: exponential, gamma: 0.5, decay_steps: 25}": lambda o: lr_scheduler.ExponentialLR(
        o, 0.5 ** (1 / 25)
    ),
    "{name: polynomial, power: 2}": lambda o: lr_scheduler.PolynomialLR(o, TOTAL, 2.0),
    "{name: polynomial, power: 0.5, warmup_steps: 20}": warmed(
        lambda o: lr_scheduler.PolynomialLR(o, TOTAL - 20, 0.5), 20
    ),
    "{name: multi_step, milestones: [10, 50, 80], gamma: 0.3}": lambda o: lr_scheduler.MultiStepLR(
        o, [10, 50, 80], 0.3
    ),
    "{name: cosine_restarts, period_steps: 20, end_factor: 0.05}": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 20, 1, 0.05)
    ),
    "{name: cosine_restarts, period_steps: 10, period_factor: 2}": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 2)
    ),
    "one_cycle": lambda o: lr_scheduler.OneCycleLR(o, 1.0, TOTAL, cycle_momentum=False),
    "{name: one_cycle, pct_start: 0.2, div_factor: 10, final_div_factor: 50, anneal: linear}": (
        lambda o: lr_scheduler.OneCycleLR(
            o,
            1.0,
            TOTAL,
            pct_start=0.2,
            div_factor=10,
            final_div_factor=50,
            anneal_strategy="linear",
            cycle_momentum=False,
        )
    ),
    "{chain: [{name: constant, steps: 15}, {name: linear, end_factor: 0.5, steps: 25}, "
    "{name: exponential, gamma: 0.9}]}": lambda o: lr_scheduler.SequentialLR(
        o,
        [
            lr_scheduler.ConstantLR(o, 1.0, 1),
            lr_scheduler.LinearLR(o, 1.0, 0.5, 25),
            lr_scheduler.ExponentialLR(o, 0.9),
        ],
        milestones=[15, 40],
    ),
    "{name: inverse_sqrt, warmup_steps: 16}": [
        min((s + 1) / 16, (16 / max(s, 16)) ** 0.5) for s in range(TOTAL)
    ],
    "{name: warmup_stable_decay, warmup_steps: 10, decay_steps: 20}": stable_decay(
        10, 20, 0.0, lambda t: t
    ),
    "{name: warmup_stable_decay, decay_steps: 40, decay: sqrt, end_factor: 0.1}": stable_decay(
        0, 40, 0.1, math.sqrt
    ),
    "{name: warmup_stable_decay, decay_steps: 40, decay: cosine}": stable_decay(
        0, 40, 0.0, lambda t: (1 - math.cos(math.pi * t)) / 2
    ),
}


def measured(i):
    """An evaluation's value: falls, then stands still, with a bump."""
    return max(1.0 - i / 16, 0.25) + (i * 37 % 11) / 512 + (0.5 if i == 30 else 0.0)


PLATEAUS = {
    "{patience: 2}": dict(patience=2),
    "{factor: 0.5, patience: 1, cooldown: 3, threshold: 0.01, min_factor: 0.1}": dict(
        factor=0.5, patience=1, cooldown=3, threshold=0.01, min_lr=0.1
    ),
    "{mode: max, factor: 0.7, patience: 0, threshold: 0.05, threshold_mode: abs}": dict(
        mode="max", factor=0.7, patience=0, threshold=0.05, threshold_mode="abs"
    ),
    "{mode: max, factor: 0.9, patience: 3, threshold: 0.1}": dict(
        mode="max", factor=0.9, patience=3, threshold=0.1
    ),
}


def plateau_factors(options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, eps=0.0, **options)
    factors = []
    for i in range(60):
        scheduler.step(measured(i))
        factors.append(optimizer.param_groups[0]["lr"])
    return factors


AVERAGES = {
    "ema: {decay: 0.9}": (swa_utils.get_ema_multi_avg_fn(0.9), 0, 1),
    "ema: {decay: 0.99, update_every: 3}": (swa_utils.get_ema_multi_avg_fn(0.99), 2, 3),
    "swa: {start_step: 40, every_steps: 5}": (swa_utils.get_swa_multi_avg_fn(), 44, 5),
}


def average(fn, first, every):
    """After TOTAL steps, of weights that are gradient(step) behind each step."""
    module = torch.nn.ParameterList([torch.nn.Parameter(p) for p in gradient(0)])
    averaged = swa_utils.AveragedModel(module, multi_avg_fn=fn)
    for step in range(first, TOTAL, every):
        for p, value in zip(module, gradient(step)):
            p.data.copy_(value)
        averaged.update_parameters(module)
    return torch.cat([p.detach() for p in averaged.module])


def text(values, digits=12):
    return " ".join(f"{float(v):.{digits}g}" for v in values)


def write(name, lines):
    path = pathlib.Path(__file__).with_name(name)
    path.write_text("\n".join(["# made by make_optim.py; " + lines[0]] + lines[1:]) + "\n")


def main():
    lines = ["case | config, then case | steps done | parameters"]
    for name, (config, make) in CASES.items():
        lines.append(f"{name} | {config}")
        params = [torch.nn.Parameter(p) for p in start()]
        optimizer = make(params)
        for step in range(max(STEPS)):
            for p, grad in zip(params, gradient(step)):
                p.grad = grad
            optimizer.step()
            if step + 1 in STEPS:
                lines.append(f"{name} | {step + 1} | {text(torch.cat(params))}")
    write("optim.txt", lines)

    lines = [f"config | factors of steps 0 to {TOTAL - 1} of a run of {TOTAL}; plateaus with options"]
    for config, make in SCHEDULES.items():
        factors = torch_factors(make) if callable(make) else make
        lines.append(f"{config} | {text(factors, 10)}")
    for config, options in PLATEAUS.items():
        lines.append(f"plateau | {config} | {text(plateau_factors(options), 10)}")
    write("schedules.txt", lines)

    lines = [f"config | average after {TOTAL} steps"]
    for config, options in AVERAGES.items():
        lines.append(f"{config} | {text(average(*options))}")
    write("averages.txt", lines)


if __name__ == "__main__":
    main()
