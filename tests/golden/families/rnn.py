# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers: one direction and both, last state and sequences, variable lengths by packing."""
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from make_models import Case

GATES = {"simple_rnn": 1, "gru": 3, "lstm": 4}
LENGTHS = torch.tensor([6, 2, 5, 1, 6])


def normal(*shape, scale=0.5):
    return scale * torch.randn(*shape, dtype=torch.float64)


def params_of(layer, kind, inputs, units, both=False, bias=True):
    gates, out = GATES[kind], {}
    for suffix in ("", "_reverse") if both else ("",):
        out[f"{layer}.weight{suffix}"] = normal(inputs, gates * units)
        out[f"{layer}.recurrent_weight{suffix}"] = normal(units, gates * units)
        if bias:
            out[f"{layer}.bias{suffix}"] = normal(gates * units)
            if kind == "gru":
                out[f"{layer}.recurrent_bias{suffix}"] = normal(gates * units)
    return out


class Functional:
    """A module of torch.nn whose parameters are functions of ours."""

    def __init__(self, layer, kind, params, both=False, activation="tanh", lengths=None):
        self.lengths = lengths
        prefix = layer + "."
        weight = params[prefix + "weight"]
        units = params[prefix + "recurrent_weight"].shape[0]
        bias = prefix + "bias" in params
        options = dict(batch_first=True, bidirectional=both, bias=bias, dtype=torch.float64)
        if kind == "simple_rnn":
            self.module = torch.nn.RNN(weight.shape[0], units, nonlinearity=activation, **options)
        else:
            module = torch.nn.LSTM if kind == "lstm" else torch.nn.GRU
            self.module = module(weight.shape[0], units, **options)
        self.params = {}
        for suffix in ("", "_reverse") if both else ("",):
            get = lambda name: params.get(prefix + name + suffix)
            self.params["weight_ih_l0" + suffix] = get("weight").T
            self.params["weight_hh_l0" + suffix] = get("recurrent_weight").T
            if bias:
                own = get("bias")
                second = get("recurrent_bias")
                self.params["bias_ih_l0" + suffix] = own
                # PyTorch has two biases everywhere; where they are only added, ours is the first.
                self.params["bias_hh_l0" + suffix] = second if second is not None else 0 * own

    def __call__(self, x):
        """[B, T, n] -> y [B, T, directions, units], last state [directions, B, units]"""
        steps = x.shape[1]
        if self.lengths is not None:
            x = pack_padded_sequence(x, self.lengths, batch_first=True, enforce_sorted=False)
        # cuDNN-style modules take their weights as attributes.
        y, state = torch.func.functional_call(self.module, self.params, (x,))
        if self.lengths is not None:
            y, _ = pad_packed_sequence(y, batch_first=True, total_length=steps)
        last = state[0] if isinstance(state, tuple) else state
        return y.reshape(*y.shape[:2], last.shape[0], -1), last


MERGE = {"concat": lambda f, b: torch.cat([f, b], -1), "sum": lambda f, b: f + b,
         "mul": lambda f, b: f * b, "ave": lambda f, b: (f + b) / 2}


def mean_rows(values):
    return values.flatten(1).mean(1)


def last_state(name, kind, options="", merge=None, mask=False, activation="tanh", bias=True):
    """[5, 6, 3] -> the last state, 4 units (both directions merged) -> 2 numbers."""
    both = merge is not None
    params = params_of(kind + "_1", kind, 3, 4, both, bias)
    width = 8 if merge == "concat" else 4
    params["dense_1.weight"], params["dense_1.bias"] = normal(width, 2), normal(2)
    x = normal(5, 6, 3, scale=1)
    if mask:
        x[torch.arange(6)[None, :] >= LENGTHS[:, None]] = 0
    text = f"units: 4{options}" + (f", bidirectional: true, merge: {merge}" if both else "")
    layers = ("  - masking\n" if mask else "") + f"  - {kind}: {{{text}}}\n  - dense: {{units: 2}}\n"

    def forward(p, x):
        run = Functional(kind + "_1", kind, p, both, activation, LENGTHS if mask else None)
        last = run(x.flip(1) if "go_backwards: true" in options else x)[1]
        h = MERGE[merge](last[0], last[1]) if both else last[0]
        return h @ p["dense_1.weight"] + p["dense_1.bias"]

    return Case(name=name, model="input: [6, 3]\nlayers:\n" + layers, loss="mse", params=params,
                input=x, target=normal(5, 2), forward=forward,
                loss_fn=lambda p, t: mean_rows((p - t) ** 2))


def sequence(name, kind, merge=None, container=False):
    """Two layers on top of each other, [5, 6, 3] -> [5, 6, ...] -> the last state of the second."""
    both = merge is not None
    params = params_of(kind + "_1", kind, 3, 4, both)
    width = 8 if merge == "concat" else 4
    params |= params_of("gru_9", "gru", width, 5)
    params["dense_1.weight"], params["dense_1.bias"] = normal(5, 2), normal(2)
    inner = f"{kind}: {{units: 4, return_sequences: true"
    if container:
        text = f"  - bidirectional: {{layer: {{{inner}}}}}, merge: {merge}}}\n"
    else:
        text = f"  - {inner}" + (f", bidirectional: true, merge: {merge}" if both else "") + "}\n"
    text += "  - gru: {name: gru_9, units: 5}\n  - dense: {units: 2}\n"

    def forward(p, x):
        y, _ = Functional(kind + "_1", kind, p, both)(x)
        y = MERGE[merge](y[:, :, 0], y[:, :, 1]) if both else y[:, :, 0]
        _, last = Functional("gru_9", "gru", p)(y)
        return last[0] @ p["dense_1.weight"] + p["dense_1.bias"]

    return Case(name=name, model="input: [6, 3]\nlayers:\n" + text, loss="mse", params=params,
                input=normal(5, 6, 3, scale=1), target=normal(5, 2), forward=forward,
                loss_fn=lambda p, t: mean_rows((p - t) ** 2))


def masked_sequence():
    """Both directions over variable lengths, all states; padding has weight 0 by the products."""
    params = params_of("lstm_1", "lstm", 3, 4, True) | params_of("lstm_2", "lstm", 8, 5)
    params["dense_1.weight"], params["dense_1.bias"] = normal(5, 2), normal(2)
    x = normal(5, 6, 3, scale=1)
    x[torch.arange(6)[None, :] >= LENGTHS[:, None]] = -1

    def forward(p, x):
        y, _ = Functional("lstm_1", "lstm", p, True, lengths=LENGTHS)(x)
        _, last = Functional("lstm_2", "lstm", p, lengths=LENGTHS)(y.flatten(2))
        return last[0] @ p["dense_1.weight"] + p["dense_1.bias"]

    model = ("input: [6, 3]\nlayers:\n  - masking: {value: -1}\n"
             "  - bidirectional: {layer: {lstm: {units: 4, return_sequences: true}}}\n"
             "  - lstm: {units: 5}\n  - dense: {units: 2}\n")
    return Case(name="packed_two_layers", model=model, loss="mse", params=params, input=x,
                target=normal(5, 2), forward=forward,
                loss_fn=lambda p, t: mean_rows((p - t) ** 2))


def cases():
    out = []
    for kind in GATES:
        out.append(last_state(kind, kind))
        out.append(last_state(kind + "_packed", kind, mask=True))
        out.append(last_state(kind + "_both_packed", kind, merge="concat", mask=True))
        out.append(last_state(kind + "_no_bias", kind, options=", use_bias: false", bias=False))
        out.append(sequence(kind + "_sequence", kind))
    out.append(last_state("simple_rnn_relu", "simple_rnn", ", activation: relu", activation="relu"))
    out.append(last_state("lstm_backwards", "lstm", ", go_backwards: true"))
    for merge in ("sum", "mul", "ave"):
        out.append(last_state("gru_both_" + merge, "gru", merge=merge))
        out.append(sequence("lstm_both_sequence_" + merge, "lstm", merge, container=merge == "mul"))
    out.append(sequence("bidirectional", "lstm", "concat", container=True))
    out.append(masked_sequence())
    return out
