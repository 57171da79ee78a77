# SPDX-License-Identifier: Apache-2.0
"""Dense layers, activations and the losses of the tutorials; residual and branch."""
import torch
import torch.nn.functional as F

from make_models import Case

ACTIVATIONS = {
    "relu": F.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "softplus": F.softplus,
    "silu": F.silu, "gelu": F.gelu, "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
}


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def dense(params, name, x):
    return x @ params[name + ".weight"] + params[name + ".bias"]


def two_dense(name, activation, function, loss, loss_fn, target):
    model = (f"input: [5]\nlayers:\n  - dense: {{units: 7, activation: {activation}}}\n"
             "  - dense: {units: 3}\n")
    return Case(
        name=name, model=model, loss=loss, input=normal(6, 5), target=target,
        params={"dense_1.weight": normal(5, 7), "dense_1.bias": normal(7),
                "dense_2.weight": normal(7, 3), "dense_2.bias": normal(3)},
        forward=lambda p, x: dense(p, "dense_2", function(dense(p, "dense_1", x))),
        loss_fn=loss_fn)


def mean_rows(values):
    return values.flatten(1).mean(1)


def cases():
    out = []
    for name, function in ACTIVATIONS.items():
        out.append(two_dense("dense_" + name, name, function, "mse",
                             lambda p, t: mean_rows((p - t) ** 2), normal(6, 3)))
    labels = torch.tensor([0, 2, 1, 1, 0, 2])
    losses = {
        "mae": ("mae", lambda p, t: mean_rows((p - t).abs()), normal(6, 3)),
        "huber": ("{huber: {delta: 0.7}}",
                  lambda p, t: mean_rows(F.huber_loss(p, t, reduction="none", delta=0.7)),
                  normal(6, 3)),
        "cross_entropy": ("cross_entropy",
                          lambda p, t: F.cross_entropy(p, t, reduction="none"), labels),
        "cross_entropy_smooth": (
            "{cross_entropy: {label_smoothing: 0.1}}",
            lambda p, t: F.cross_entropy(p, t, reduction="none", label_smoothing=0.1), labels),
        "binary_cross_entropy": (
            "binary_cross_entropy",
            lambda p, t: mean_rows(F.binary_cross_entropy_with_logits(p, t, reduction="none")),
            torch.rand(6, 3, dtype=torch.float64).round()),
    }
    for name, (loss, loss_fn, target) in losses.items():
        out.append(two_dense("loss_" + name, "tanh", torch.tanh, loss, loss_fn, target))
    weighted = two_dense("padding", "relu", F.relu, "mse",
                         lambda p, t: mean_rows((p - t) ** 2), normal(6, 3))
    weighted.weight = torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.float64)
    out.append(weighted)
    out.append(Case(
        name="residual_branch",
        model="input: [4]\nlayers:\n  - residual: {layers: [{dense: {units: 4}}], activation: relu}\n"
              "  - branch: {paths: [[{dense: {units: 3}}], [{dense: {units: 2, activation: tanh}}]]}\n"
              "  - dense: {units: 2}\n",
        loss="mse", input=normal(5, 4), target=normal(5, 2),
        params={n + s: normal(*d) for n, dims in (("dense_1", (4, 4)), ("dense_2", (4, 3)),
                                                  ("dense_3", (4, 2)), ("dense_4", (5, 2)))
                for s, d in ((".weight", dims), (".bias", dims[1:]))},
        forward=lambda p, x: residual_branch(p, x),
        loss_fn=lambda p, t: mean_rows((p - t) ** 2)))
    return out


def residual_branch(p, x):
    y = F.relu(x + dense(p, "dense_1", x))
    y = torch.cat([dense(p, "dense_2", y), torch.tanh(dense(p, "dense_3", y))], -1)
    return dense(p, "dense_4", y)
