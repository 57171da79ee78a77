# SPDX-License-Identifier: Apache-2.0
"""Convolutions against torch.nn.functional. Ours are channels last; weights are [kernel..., in, out]
(transposed convolutions: [kernel..., out, in])."""
import torch
import torch.nn.functional as F

from make_models import Case


def normal(*shape, scale=0.3):
    return scale * torch.randn(*shape, dtype=torch.float64)


def mean_squares(prediction, target):
    return ((prediction - target) ** 2).flatten(1).mean(1)


def image(x):
    return x.permute(0, 3, 1, 2)


def channels_last(y):
    return y.permute(0, 2, 3, 1)


def conv(p, name, x, pads=(0, 0, 0, 0), **options):
    """pads: top, bottom, left, right."""
    top, bottom, left, right = pads
    x = F.pad(image(x), (left, right, top, bottom))
    w = p[name + ".weight"].permute(3, 2, 0, 1)
    return channels_last(F.conv2d(x, w, p.get(name + ".bias"), **options))


def transposed(p, name, x, crop=(0, 0, 0, 0), **options):
    """crop: what to cut off of the whole result, top, bottom, left, right."""
    w = p[name + ".weight"].permute(3, 2, 0, 1)
    y = channels_last(F.conv_transpose2d(image(x), w, p.get(name + ".bias"), **options))
    top, bottom, left, right = crop
    return y[:, top:y.shape[1] - bottom, left:y.shape[2] - right, :]


def single(name, model, sample, params, forward, batch=3):
    x = normal(batch, *sample, scale=1.0)
    shape = forward(params, x).shape
    text = f"input: {list(sample)}\nlayers:\n  - {model}\n"
    weight = torch.ones(batch, dtype=torch.float64)
    weight[-1] = 0
    return Case(name, text, "mse", params, x, normal(*shape, scale=1.0), forward, mean_squares,
                weight=weight)


def options():
    c = "conv2d_1"
    yield single("plain", "conv2d: {filters: 4, kernel_size: 3}", (6, 7, 3),
                 {c + ".weight": normal(3, 3, 3, 4), c + ".bias": normal(4)},
                 lambda p, x: conv(p, c, x))
    yield single("relu_pad", "conv2d: {filters: 5, kernel_size: 3, padding: 1, activation: relu}",
                 (6, 5, 3), {c + ".weight": normal(3, 3, 3, 5), c + ".bias": normal(5)},
                 lambda p, x: conv(p, c, x, (1, 1, 1, 1)).relu())
    yield single("same_even", "conv2d: {filters: 3, kernel_size: [4, 2], padding: same, "
                 "activation: tanh}", (5, 6, 2),
                 {c + ".weight": normal(4, 2, 2, 3), c + ".bias": normal(3)},
                 lambda p, x: conv(p, c, x, (1, 2, 0, 1)).tanh())
    yield single("same_stride", "conv2d: {filters: 3, kernel_size: 3, strides: 2, padding: same}",
                 (6, 7, 2), {c + ".weight": normal(3, 3, 2, 3), c + ".bias": normal(3)},
                 lambda p, x: conv(p, c, x, (0, 1, 1, 1), stride=2))
    yield single("sides", "conv2d: {filters: 3, kernel_size: 3, padding: [2, 0, 1, 3], "
                 "use_bias: false}", (4, 5, 2), {c + ".weight": normal(3, 3, 2, 3)},
                 lambda p, x: conv(p, c, x, (2, 0, 1, 3)))
    yield single("dilated", "conv2d: {filters: 3, kernel_size: [3, 2], dilation: [2, 3], "
                 "strides: [1, 2]}", (8, 9, 2),
                 {c + ".weight": normal(3, 2, 2, 3), c + ".bias": normal(3)},
                 lambda p, x: conv(p, c, x, dilation=(2, 3), stride=(1, 2)))
    yield single("groups", "conv2d: {filters: 6, kernel_size: 3, groups: 2, padding: 1, "
                 "activation: sigmoid}", (5, 5, 4),
                 {c + ".weight": normal(3, 3, 2, 6), c + ".bias": normal(6)},
                 lambda p, x: conv(p, c, x, (1, 1, 1, 1), groups=2).sigmoid())
    yield single("pointwise_stride", "conv2d: {filters: 17, kernel_size: 1, strides: 2, "
                 "use_bias: false}", (7, 6, 5), {c + ".weight": normal(1, 1, 5, 17)},
                 lambda p, x: conv(p, c, x, stride=2))


def others():
    d, t, s = "depthwise_conv2d_1", "conv2d_transpose_1", "conv1d_1"
    yield single("depthwise", "depthwise_conv2d: {kernel_size: 3, padding: 1, activation: relu}",
                 (5, 6, 5), {d + ".weight": normal(3, 3, 1, 5), d + ".bias": normal(5)},
                 lambda p, x: conv(p, d, x, (1, 1, 1, 1), groups=5).relu())
    yield single("depthwise_two", "depthwise_conv2d: {kernel_size: 3, strides: 2, "
                 "depth_multiplier: 2}", (7, 6, 3),
                 {d + ".weight": normal(3, 3, 1, 6), d + ".bias": normal(6)},
                 lambda p, x: conv(p, d, x, groups=3, stride=2))
    yield single("transpose_valid", "conv2d_transpose: {filters: 3, kernel_size: 3, strides: 2}",
                 (3, 4, 2), {t + ".weight": normal(3, 3, 3, 2), t + ".bias": normal(3)},
                 lambda p, x: transposed(p, t, x, stride=2))
    yield single("transpose_same", "conv2d_transpose: {filters: 3, kernel_size: 4, strides: 2, "
                 "padding: same, activation: relu}", (3, 4, 2),
                 {t + ".weight": normal(4, 4, 3, 2), t + ".bias": normal(3)},
                 lambda p, x: transposed(p, t, x, (1, 1, 1, 1), stride=2).relu())
    yield single("transpose_given", "conv2d_transpose: {filters: 4, kernel_size: 3, strides: 2, "
                 "padding: 1, output_padding: 1, groups: 2}", (3, 4, 6),
                 {t + ".weight": normal(3, 3, 2, 6), t + ".bias": normal(4)},
                 # PyTorch's groups lie along the inputs, ours along the outputs of the weight.
                 lambda p, x: channels_last(F.conv_transpose2d(
                     image(x), p[t + ".weight"].permute(3, 2, 0, 1), p[t + ".bias"], stride=2,
                     padding=1, output_padding=1, groups=2)))
    yield single("one_axis", "conv1d: {filters: 4, kernel_size: 3, strides: 2, padding: same, "
                 "dilation: 2, activation: relu}", (9, 3),
                 {s + ".weight": normal(3, 3, 4), s + ".bias": normal(4)},
                 lambda p, x: F.conv1d(F.pad(x.transpose(1, 2), (2, 2)),
                                       p[s + ".weight"].permute(2, 1, 0), p[s + ".bias"], stride=2,
                                       dilation=2).relu().transpose(1, 2))


def stack():
    """Two convolutions, so that the second has a gradient for its input, and a dense layer."""
    a, b, d = "conv2d_1", "conv2d_2", "dense_1"
    params = {a + ".weight": normal(5, 5, 1, 6), a + ".bias": normal(6),
              b + ".weight": normal(3, 3, 6, 16), b + ".bias": normal(16),
              d + ".weight": normal(256, 3, scale=0.06), d + ".bias": normal(3)}
    model = ("input: [12, 12, 1]\nlayers:\n  - conv2d: {filters: 6, kernel_size: 5, activation: relu}"
             "\n  - conv2d: {filters: 16, kernel_size: 3, strides: 2, padding: same, activation: "
             "tanh}\n  - flatten\n  - dense: {units: 3}\n")

    def forward(p, x):
        h = conv(p, a, x).relu()
        h = conv(p, b, h, (0, 1, 0, 1), stride=2).tanh()
        return h.flatten(1) @ p[d + ".weight"] + p[d + ".bias"]

    x = normal(4, 12, 12, 1, scale=1.0)
    labels = torch.tensor([0, 2, 1, 1])
    return Case("stack", model, "cross_entropy", params, x, labels, forward,
                lambda y, t: F.cross_entropy(y, t, reduction="none"))


def cases():
    return [*options(), *others(), stack()]
