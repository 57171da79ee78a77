#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains small models for a few steps, exports them, and compares what onnxruntime computes with `dltrain predict`.

  python3 -m venv /tmp/onnx && /tmp/onnx/bin/pip install onnx onnxruntime numpy h5py safetensors
  /tmp/onnx/bin/python bench/check_onnx.py build/release/dltrain

Also loads the safetensors, npz and HDF5 exports of the first model and compares them with each other. Not part of ./test,
which has no onnxruntime; tests/onnx checks the files' structure.
"""
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

PROGRAM = os.path.abspath(sys.argv[1])
ONLY = sys.argv[2:]

IMAGE, TOKENS, SEQUENCE = [12, 10, 3], [9], [7, 5]
ACTIVATIONS = ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "silu", "gelu", "softmax"]
MODELS = {
    "dense": (IMAGE, "[flatten, {dense: {units: 16, activation: relu}}, {dense: {units: 8}}]"),
    "activations": ([8], "[" + ", ".join("{dense: {units: 8, activation: %s}}" % a for a in ACTIVATIONS) + "]"),
    "cnn": (IMAGE, "[{conv2d: {filters: 8, kernel_size: 3, padding: same, activation: relu}}, max_pool2d, "
            "{conv2d: {filters: 6, kernel_size: [3, 2], strides: 2, padding: same}}, {batch_norm: {}}, relu, flatten, {dense: {units: 4}}]"),
    "conv_forms": (IMAGE, "[{conv2d: {filters: 6, kernel_size: 3, dilation: 2, groups: 3, activation: leaky_relu}}, "
                   "{depthwise_conv2d: {kernel_size: 3, padding: same}}, {conv2d_transpose: {filters: 4, kernel_size: 3, strides: 2, padding: same}}, "
                   "{avg_pool2d: {pool_size: 2}}, {upsample2d: {size: 2}}, {upsample2d: {size: 2, interpolation: bilinear}}, "
                   "{zero_pad2d: {padding: 1}}, {cropping2d: {cropping: 2}}, {group_norm: {groups: 2}}, global_avg_pool2d, {dense: {units: 3}}]"),
    "conv1d": (SEQUENCE, "[{conv1d: {filters: 6, kernel_size: 3, padding: same, activation: tanh}}, max_pool1d, {batch_norm: {}}, global_max_pool1d, {dense: {units: 3}}]"),
    "residual": (IMAGE, "[{conv2d: {filters: 4, kernel_size: 3, padding: same}}, {residual: [{conv2d: {filters: 4, kernel_size: 3, padding: same}}, {batch_norm: {}}]}, relu, "
                 "{branch: {join: concat, paths: [[{conv2d: {filters: 2, kernel_size: 1}}], [{conv2d: {filters: 3, kernel_size: 3, padding: same}}, relu]]}}, flatten, {dense: {units: 3}}]"),
    "norms": (SEQUENCE, "[{layer_norm: {}}, {dense: {units: 6}}, {rms_norm: {}}, {residual: [{dense: {units: 6}}]}, {layer_norm: {}}, flatten, {dense: {units: 3}}]"),
    "lstm": (SEQUENCE, "[{lstm: {units: 6, return_sequences: true}}, {lstm: {units: 4}}, {dense: {units: 3}}]"),
    "gru": (SEQUENCE, "[{gru: {units: 6, bidirectional: true, return_sequences: true}}, {gru: {units: 4, go_backwards: true}}, {dense: {units: 3}}]"),
    "rnn": (SEQUENCE, "[{simple_rnn: {units: 6, return_sequences: true, activation: relu}}, {simple_rnn: {units: 4, use_bias: false}}, {dense: {units: 3}}]"),
    "tokens": (TOKENS, "[{embedding: {input_dim: 11, output_dim: 8}}, {positional_embedding: {max_length: 12}}, {sinusoidal_embedding: {}}, "
               "{lstm: {units: 6, bidirectional: true, merge: ave}}, {dense: {units: 3}}]"),
    "attention": (TOKENS, "[{embedding: {input_dim: 11, output_dim: 8}}, {transformer_block: {heads: 2, causal: true}}, "
                  "{multi_head_attention: {heads: 4, kv_heads: 2, rope: true}}, {transformer_block: {heads: 2, norm: rms_norm, norm_first: true}}, flatten, {dense: {units: 3}}]"),
    "masked_attention": (TOKENS, "[{embedding: {input_dim: 11, output_dim: 8, mask_zero: true}}, {transformer_block: {heads: 2, causal: true}}, global_avg_pool1d, {dense: {units: 3}}]"),
    "masked_lstm": (TOKENS, "[{embedding: {input_dim: 11, output_dim: 8, mask_zero: true}}, {lstm: {units: 5, return_sequences: true}}, {lstm: {units: 4}}, {dense: {units: 3}}]"),
    "masked_gru": (SEQUENCE, "[{masking: {value: 0}}, {gru: {units: 6, bidirectional: true, return_sequences: true}}, {gru: {units: 4, use_bias: false, go_backwards: true}}, {dense: {units: 3}}]"),
    "masked_rnn": (SEQUENCE, "[{masking: {value: 0}}, {simple_rnn: {units: 6, activation: relu}}, {dense: {units: 3}}]"),
    "masked_max": (SEQUENCE, "[{masking: {value: 0}}, {dense: {units: 4}}, global_max_pool1d, {dense: {units: 3}}]"),
}
ZOO = {
    "gpt": "{name: gpt, input: [9], vocabulary: 11, layers: 2, heads: 2, units: 16}",
    "lstm_lm": "{name: lstm_lm, input: [9], vocabulary: 11, units: 12}",
    "resnet18": "{name: resnet18, input: [32, 32, 3], classes: 5}",
    "lenet5": "{name: lenet5, input: [28, 28, 1], classes: 5}",
    "vgg11": "{name: vgg11, input: [32, 32, 3], classes: 5}",
}


def run(*words):
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}\n{done.stderr}")


def check(*case):
    """Whether the case passes; one that cannot be run is said to be bad, and the others go on."""
    try:
        return compare(*case)
    except Exception as error:  # pylint: disable=broad-except
        print(f"BAD  {case[0]:18} {error}")
        return False


def compare(name, model, tokens, shape, folder):
    rng = np.random.default_rng(1)
    rows = 12
    if tokens:
        x = rng.integers(0, 11, [rows, *shape]).astype("i4")
        x[:, -2:] = 0
    else:
        x = rng.normal(size=[rows, *shape]).astype("f4")
        if name.startswith("masked"):
            x[:, -2:] = 0
    data, config = f"{folder}/{name}.h5", f"{folder}/{name}.yaml"
    text = f"run: {{name: {name}, dir: {folder}/{name}}}\nmodel: {model}\nloss: LOSS\n"
    text += f"data:\n  train: {{file: {data}, inputs: /x, targets: /y}}\n  global_batch_size: 4\n"
    text += "train: {steps: 3}\noptimizer: {name: sgd, learning_rate: 0.01}\n"
    with h5py.File(data, "w") as file:
        file["x"] = x
        file["y"] = rng.integers(0, 2, [rows]).astype("i4")
    language = name in ("gpt", "lstm_lm")
    if language:
        with h5py.File(data, "w") as file:
            file["x"] = x
            file["y"] = rng.integers(0, 11, [rows, *shape]).astype("i4")
    with open(config, "w") as out:
        out.write(text.replace("LOSS", "cross_entropy"))
    run(config, "--quiet")
    run("export", f"{folder}/{name}", "--format", "onnx", "--output", f"{folder}/{name}.onnx")
    run("predict", config, "--checkpoint", f"{folder}/{name}", "--input", data, "--output", f"{folder}/{name}.out.h5")
    with h5py.File(f"{folder}/{name}.out.h5") as file:
        wanted = file["predictions"][:]
    onnx.checker.check_model(f"{folder}/{name}.onnx", full_check=True)
    session = onnxruntime.InferenceSession(f"{folder}/{name}.onnx")
    got = session.run(["prediction"], {"input": x})[0]
    one = session.run(["prediction"], {"input": x[:1]})[0]
    error = max(np.abs(got - wanted).max(), np.abs(one - wanted[:1]).max())
    size = max(1.0, np.abs(wanted).max())
    operators = [node.op_type for node in onnx.load(f"{folder}/{name}.onnx").graph.node]
    good = got.shape == wanted.shape and error / size < 2e-5
    print(f"{'ok  ' if good else 'BAD '} {name:18} largest difference {error:.2e} of {size:.2f}, {len(operators)} nodes, "
          f"{operators.count('Transpose')} transposed")
    return good


def check_weights(folder):
    for form, ending in (("safetensors", "safetensors"), ("npz", "npz"), ("hdf5", "h5")):
        run("export", f"{folder}/dense", "--format", form, "--output", f"{folder}/weights.{ending}", "--optimizer")
    first = load_file(f"{folder}/weights.safetensors")
    npz = np.load(f"{folder}/weights.npz")
    with h5py.File(f"{folder}/weights.h5") as file:
        same = all(np.array_equal(first[name], npz[name]) and np.array_equal(first[name], file[name.replace(".", "/")][:])
                   for name in first)
        print("ok   " if same else "BAD  ", len(first), "tensors alike; attributes", dict(file.attrs))
    return same and sorted(npz.files) == sorted(first)


def main():
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for name, (shape, layers) in MODELS.items():
            if not ONLY or name in ONLY:
                good &= check(name, f"{{input: {shape}, layers: {layers}}}", shape is TOKENS, shape, folder)
        for name, model in ZOO.items():
            if not ONLY or name in ONLY:
                shape = [int(n) for n in model.split("input: [")[1].split("]")[0].split(",")]
                good &= check(name, model, len(shape) == 1, shape, folder)
        if not ONLY:
            good &= check_weights(folder)
    return 0 if good else 1


sys.exit(main())
