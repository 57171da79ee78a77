# SPDX-License-Identifier: Apache-2.0
"""Pooling, upsampling, padding and cropping; a dense layer in front makes them pass gradients on."""
import math

import torch
import torch.nn.functional as F

from make_models import Case


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def mse(p, t):
    return ((p - t) ** 2).flatten(1).mean(1)


def behind_dense(name, layer, shape, function):
    """function: [B, C, ...] -> [B, C, ...] or [B, C]"""
    size = math.prod(shape[1:])
    params = {"dense_1.weight": normal(size, size) / size ** 0.5, "dense_1.bias": normal(size)}

    def forward(p, x):
        h = (x.flatten(1) @ p["dense_1.weight"] + p["dense_1.bias"]).reshape(x.shape)
        return function(h.movedim(-1, 1)).movedim(1, -1)

    x = normal(*shape)
    target = torch.randn_like(forward(params, x))
    return Case(
        name=name, loss="mse", input=x, target=target, params=params, forward=forward, loss_fn=mse,
        model=f"input: {list(shape[1:])}\nlayers: [flatten, {{dense: {{units: {size}}}}}, "
              f"{{reshape: {{shape: {list(shape[1:])}}}}}, {layer}]\n")


def same(x, size, stride, value):
    """Pads as Keras does: the odd place behind."""
    pads = []
    for length, k, s in reversed(list(zip(x.shape[2:], size, stride))):
        total = max((math.ceil(length / s) - 1) * s + k - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def avg_same(x, size, stride):
    ones = same(torch.ones_like(x), size, stride, 0.0)
    pool = F.avg_pool2d if x.dim() == 4 else F.avg_pool1d
    return pool(same(x, size, stride, 0.0), size, stride) / pool(ones, size, stride)


def cases():
    image, sequence = (2, 5, 6, 2), (3, 9, 4)
    return [
        behind_dense("max_pool2d", "max_pool2d", image, lambda x: F.max_pool2d(x, 2)),
        behind_dense("max_pool2d_overlap", "{max_pool2d: {pool_size: 3, strides: 2, padding: 1}}",
                     image, lambda x: F.max_pool2d(x, 3, 2, 1)),
        behind_dense("max_pool2d_same", "{max_pool2d: {pool_size: [3, 2], strides: 2, padding: same}}",
                     image, lambda x: F.max_pool2d(same(x, (3, 2), (2, 2), -math.inf), (3, 2), 2)),
        behind_dense("avg_pool2d", "{avg_pool2d: {pool_size: [2, 3]}}", image,
                     lambda x: F.avg_pool2d(x, (2, 3))),
        behind_dense("avg_pool2d_same", "{avg_pool2d: {pool_size: 3, strides: 2, padding: same}}",
                     image, lambda x: avg_same(x, (3, 3), (2, 2))),
        behind_dense("avg_pool2d_padded", "{avg_pool2d: {pool_size: 3, strides: 1, padding: [1, 1]}}",
                     image, lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)),
        behind_dense("avg_pool2d_include",
                     "{avg_pool2d: {pool_size: 3, strides: 2, padding: 1, count_include_pad: true}}",
                     image, lambda x: F.avg_pool2d(x, 3, 2, 1)),
        behind_dense("max_pool1d", "{max_pool1d: {pool_size: 3, strides: 2, padding: 1}}", sequence,
                     lambda x: F.max_pool1d(x, 3, 2, 1)),
        behind_dense("avg_pool1d", "{avg_pool1d: {padding: same}}", sequence,
                     lambda x: avg_same(x, (2,), (2,))),
        behind_dense("global_avg_pool2d", "global_avg_pool2d", image, lambda x: x.mean((2, 3))),
        behind_dense("global_max_pool2d", "global_max_pool2d", image, lambda x: x.amax((2, 3))),
        behind_dense("global_avg_pool1d", "global_avg_pool1d", sequence, lambda x: x.mean(2)),
        behind_dense("global_max_pool1d", "global_max_pool1d", sequence, lambda x: x.amax(2)),
        behind_dense("upsample2d", "{upsample2d: {size: [2, 3]}}", (2, 3, 4, 2),
                     lambda x: F.interpolate(x, scale_factor=(2, 3))),
        behind_dense("upsample2d_bilinear", "{upsample2d: {size: [2, 3], interpolation: bilinear}}",
                     (2, 3, 4, 2),
                     lambda x: F.interpolate(x, scale_factor=(2, 3), mode="bilinear")),
        behind_dense("upsample1d", "{upsample1d: {size: 3}}", (3, 5, 4),
                     lambda x: F.interpolate(x, scale_factor=3)),
        behind_dense("upsample1d_linear", "{upsample1d: {interpolation: bilinear}}", (3, 5, 4),
                     lambda x: F.interpolate(x, scale_factor=2, mode="linear")),
        behind_dense("zero_pad2d", "{zero_pad2d: {padding: [1, 2, 0, 3]}}", (2, 3, 4, 2),
                     lambda x: F.pad(x, (0, 3, 1, 2))),
        behind_dense("zero_pad1d", "zero_pad1d", sequence, lambda x: F.pad(x, (1, 1))),
        behind_dense("cropping2d", "{cropping2d: {cropping: [1, 2]}}", image,
                     lambda x: x[:, :, 1:-1, 2:-2]),
        behind_dense("cropping1d", "{cropping1d: {cropping: [0, 2]}}", sequence,
                     lambda x: x[:, :, :-2]),
    ]
