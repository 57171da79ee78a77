# SPDX-License-Identifier: Apache-2.0
"""batch_norm, layer_norm, rms_norm and group_norm; with relu and after a sum, where passes fuse."""
import math

import torch
import torch.nn.functional as F

from make_models import Case


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def mean_rows(values):
    return values.flatten(1).mean(1)


def first(x):
    """[B, ..., C] -> [B, C, ...]"""
    return x.movedim(-1, 1)


def last(x):
    return x.movedim(1, -1)


def mse(p, t):
    return mean_rows((p - t) ** 2)


def statistics(x, weight, running_mean):
    """What a leaf hands on: its sums around the running mean."""
    flat = x[weight > 0].reshape(-1, x.shape[-1])
    shift = flat.mean(0) - running_mean
    total = weight.sum()
    return total * shift, total * (flat.var(0, unbiased=False) + shift ** 2)


def batch_norm(name, shape, relu=False, weight=None, options="", eps=1e-5):
    """dense -> batch_norm (-> relu): the dense layer's gradients check the derivative by the input."""
    channels, flat = shape[-1], math.prod(shape[1:])
    weight = torch.ones(shape[0], dtype=torch.float64) if weight is None else weight
    norm = {"gamma": normal(channels), "beta": normal(channels),
            "running_mean": normal(channels),
            "running_var": torch.rand(channels, dtype=torch.float64) + 0.5}
    if "scale: false" in options:
        del norm["gamma"]
    if "center: false" in options:
        del norm["beta"]
    params = {"dense_1.weight": normal(flat, flat) / flat ** 0.5}
    params.update({"batch_norm_1." + n: v for n, v in norm.items()})

    def product(p, x):
        return (x.flatten(1) @ p["dense_1.weight"]).reshape(x.shape)

    def normalized(p, h, **kinds):
        y = last(F.batch_norm(first(h), weight=p.get("batch_norm_1.gamma"),
                              bias=p.get("batch_norm_1.beta"), eps=eps, **kinds))
        return F.relu(y) if relu else y

    def forward(p, x):
        h, real = product(p, x), weight > 0
        y = torch.zeros_like(h)  # padding samples give zeros
        y[real] = normalized(p, h[real], running_mean=None, running_var=None, training=True)
        return y

    def inference(p, x):
        return normalized(p, product(p, x), running_mean=p["batch_norm_1.running_mean"],
                          running_var=p["batch_norm_1.running_var"])

    x = 3 * normal(*shape) + 2
    rounded = {n: v.float().double() for n, v in params.items()}
    first_sum, second_sum = statistics(product(rounded, x.float().double()), weight,
                                       rounded["batch_norm_1.running_mean"])
    return Case(
        name=name, loss="mse", input=x, target=normal(*shape), params=params, weight=weight,
        model=f"input: {list(shape[1:])}\nlayers: [flatten, {{dense: {{units: {flat}, use_bias: false}}}}, "
              f"{{reshape: {{shape: {list(shape[1:])}}}}}, {{batch_norm: {{{options}}}}}"
              f"{', relu' if relu else ''}]\n",
        forward=forward, inference=inference, loss_fn=mse,
        statistics={"batch_norm_1.running_mean": first_sum,
                    "batch_norm_1.running_var": second_sum})


def within_sample(name, layer, shape, function, params):
    """dense -> the layer -> tanh: the dense layer's gradients check the layer's own."""
    flat = math.prod(shape[1:])
    parts = {"dense_1.weight": normal(flat, flat) / flat ** 0.5, "dense_1.bias": normal(flat)}
    parts.update(params)

    def forward(p, x):
        h = x.flatten(1) @ p["dense_1.weight"] + p["dense_1.bias"]
        return torch.tanh(function(p, h.reshape(x.shape)))

    return Case(
        name=name, loss="mse", input=normal(*shape), target=normal(*shape), params=parts,
        model=f"input: {list(shape[1:])}\nlayers: [flatten, {{dense: {{units: {flat}}}}}, "
              f"{{reshape: {{shape: {list(shape[1:])}}}}}, {layer}, tanh]\n",
        forward=forward, loss_fn=mse)


def residual_layer_norm():
    params = {"dense_1.weight": normal(6, 6), "dense_1.bias": normal(6),
              "layer_norm_1.gamma": normal(6), "layer_norm_1.beta": normal(6),
              "dense_2.weight": normal(6, 6), "dense_2.bias": normal(6),
              "layer_norm_2.gamma": normal(6), "layer_norm_2.beta": normal(6)}

    def dense(p, n, x):
        return x @ p[n + ".weight"] + p[n + ".bias"]

    def norm(p, n, x):
        return F.layer_norm(x, (6,), p[n + ".gamma"], p[n + ".beta"])

    def forward(p, x):
        x = x + dense(p, "dense_1", x)  # read by the norm and by the sum behind it
        x = x + dense(p, "dense_2", norm(p, "layer_norm_1", x))
        return norm(p, "layer_norm_2", x)

    return Case(
        name="residual_layer_norm", loss="mse", input=normal(5, 6), target=normal(5, 6),
        model="input: [6]\nlayers:\n  - residual: [{dense: {units: 6}}]\n"
              "  - residual: [layer_norm, {dense: {units: 6}}]\n  - layer_norm\n",
        params=params, forward=forward, loss_fn=mse)


def vectors(layer, size, *names):
    return {f"{layer}_1.{n}": normal(size) for n in names}


def cases():
    half = torch.tensor([1, 1, 1, 0, 0], dtype=torch.float64)
    return [
        batch_norm("batch_norm_dense", (8, 5)),
        batch_norm("batch_norm_image", (3, 3, 2, 6)),
        batch_norm("batch_norm_relu", (5, 2, 17), relu=True),
        batch_norm("batch_norm_dense_relu", (9, 4), relu=True, options="eps: 0.01", eps=0.01),
        batch_norm("batch_norm_padding", (5, 2, 3, 4), relu=True, weight=half),
        batch_norm("batch_norm_padding_dense", (5, 4), weight=half),
        batch_norm("batch_norm_plain", (3, 7, 3), options="scale: false, center: false"),
        within_sample("layer_norm", "layer_norm", (4, 3, 5),
                      lambda p, x: F.layer_norm(x, (5,), p["layer_norm_1.gamma"],
                                                p["layer_norm_1.beta"]),
                      vectors("layer_norm", 5, "gamma", "beta")),
        within_sample("layer_norm_scale", "{layer_norm: {center: false, eps: 0.1}}", (4, 37),
                      lambda p, x: F.layer_norm(x, (37,), p["layer_norm_1.gamma"], eps=0.1),
                      vectors("layer_norm", 37, "gamma")),
        within_sample("rms_norm", "rms_norm", (4, 3, 7),
                      lambda p, x: F.rms_norm(x, (7,), p["rms_norm_1.gamma"], 1e-5),
                      vectors("rms_norm", 7, "gamma")),
        within_sample("group_norm", "{group_norm: {groups: 2}}", (3, 2, 3, 6),
                      lambda p, x: last(F.group_norm(first(x), 2, p["group_norm_1.gamma"],
                                                     p["group_norm_1.beta"])),
                      vectors("group_norm", 6, "gamma", "beta")),
        within_sample("group_norm_instance", "{group_norm: {groups: 3, scale: false}}", (3, 4, 3),
                      lambda p, x: last(F.group_norm(first(x), 3, torch.ones(3, dtype=x.dtype),
                                                     p["group_norm_1.beta"])),
                      vectors("group_norm", 3, "beta")),
        residual_layer_norm(),
    ]
