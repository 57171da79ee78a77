#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/models/<family>_<case>.safetensors with PyTorch 2.5.1, computed in float64.

    python3 make_models.py [FAMILY ...]

Every file families/<family>.py has a function cases() that returns a list of Case. The files are
committed; tests/golden/models_test.cpp reads them without Python.
"""
import importlib
import pathlib
import sys
from dataclasses import dataclass, field
from typing import Callable

import torch
from safetensors.torch import save_file

PINNED = "2.5.1"
HERE = pathlib.Path(__file__).resolve().parent


@dataclass
class Case:
    """One model with a loss, and the same in PyTorch.

    model    YAML text of `model:`;  loss  YAML text of `loss:` ({mse: {}} or a word)
    params   our names ("dense_1.weight") and layouts (dense [in, out], conv HWIO, ...), float64
    input    [B, ...], float64, or int64 token ids;  target  float64 or int64 labels
    forward  (params, input) -> prediction in training mode
    loss_fn  (prediction, target) -> loss of each sample [B]
    weight   sample weights [B], 1 by default, 0 for padding
    inference  (params, input) -> prediction in inference mode, where it differs
    statistics parameters that are no leaves of the loss; their gradient, if given, is what the
               layer hands on: name -> tensor
    """

    name: str
    model: str
    loss: str
    params: dict
    input: torch.Tensor
    target: torch.Tensor
    forward: Callable
    loss_fn: Callable
    weight: torch.Tensor | None = None
    inference: Callable | None = None
    statistics: dict = field(default_factory=dict)


def stored(tensor):
    kind = torch.int32 if tensor.dtype in (torch.int32, torch.int64) else torch.float32
    return tensor.detach().to(kind).contiguous().clone()


def write(family, case):
    # What the file holds is f32: compute from those numbers.
    params = {n: p.detach().float().double().requires_grad_(n not in case.statistics)
              for n, p in case.params.items()}
    x = case.input.float().double() if case.input.is_floating_point() else case.input
    target = case.target.float().double() if case.target.is_floating_point() else case.target
    weight = case.weight if case.weight is not None else torch.ones(x.shape[0], dtype=torch.float64)
    prediction = case.forward(params, x)
    loss = case.loss_fn(prediction, target)
    assert loss.shape == (x.shape[0],), (case.name, loss.shape)
    real = weight > 0
    (loss[real] * weight[real]).sum().backward()
    out = {"input": x, "target": target, "weight": weight, "prediction": prediction, "loss": loss}
    for name, param in params.items():
        out["param." + name] = param
        if name in case.statistics:
            if case.statistics[name] is not None:
                out["grad." + name] = case.statistics[name]
        else:
            out["grad." + name] = param.grad if param.grad is not None else torch.zeros_like(param)
    if case.inference is not None:
        out["inference"] = case.inference(params, x)
    path = HERE / "models" / f"{family}_{case.name}.safetensors"
    save_file({n: stored(t) for n, t in out.items()}, path,
              {"model": case.model, "loss": case.loss, "torch": PINNED})
    print(path.name, path.stat().st_size)


def main():
    if not torch.__version__.startswith(PINNED):
        sys.exit(f"expected PyTorch {PINNED}, got {torch.__version__}")
    sys.path.insert(0, str(HERE))
    sys.modules["make_models"] = sys.modules["__main__"]  # families import Case from here
    families = sys.argv[1:] or sorted(p.stem for p in (HERE / "families").glob("*.py"))
    for family in families:
        torch.manual_seed(20260724)
        for case in importlib.import_module(f"families.{family}").cases():
            write(family, case)


if __name__ == "__main__":
    main()
