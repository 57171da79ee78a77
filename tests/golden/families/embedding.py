# SPDX-License-Identifier: Apache-2.0
"""embedding, learned and sinusoidal positions, dense on sequences, tied weights."""
import torch
import torch.nn.functional as F

from make_models import Case


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def mean_rows(values):
    return values.flatten(1).mean(1)


def case(name, layers, params, forward, target, length=6, vocabulary=11):
    return Case(name=name, model=f"input: [{length}]\nlayers:\n" + "".join(f"  - {l}\n" for l in layers),
                loss="mse", input=torch.randint(vocabulary, (5, length)), target=target, params=params,
                forward=forward, loss_fn=lambda p, t: mean_rows((p - t) ** 2))


def sinusoids(t, c, theta):
    power = theta ** (-(torch.arange(c, dtype=torch.float64) // 2 * 2) / c)
    angle = torch.arange(t, dtype=torch.float64)[:, None] * power
    return torch.where(torch.arange(c) % 2 == 0, angle.sin(), angle.cos())


def cases():
    table = {"embedding_1.weight": normal(11, 5)}
    dense = {"dense_1.weight": normal(5, 3), "dense_1.bias": normal(3)}
    return [
        case("learned",
             ["embedding: {input_dim: 11, output_dim: 5}", "positional_embedding: {max_length: 8}",
              "dense: {units: 3, activation: relu}"],
             table | dense | {"positional_embedding_1.weight": normal(8, 5)},
             lambda p, x: F.relu((F.embedding(x, p["embedding_1.weight"])
                                  + p["positional_embedding_1.weight"][:6])
                                 @ p["dense_1.weight"] + p["dense_1.bias"]),
             normal(5, 6, 3)),
        case("sinusoidal",
             ["embedding: {input_dim: 11, output_dim: 5}", "sinusoidal_embedding: {theta: 100.0}",
              "dense: {units: 3, activation: softmax}"],
             table | dense,
             lambda p, x: ((F.embedding(x, p["embedding_1.weight"]) + sinusoids(6, 5, 100.0))
                           @ p["dense_1.weight"] + p["dense_1.bias"]).softmax(-1),
             normal(5, 6, 3)),
        case("tied",
             ["embedding: {input_dim: 11, output_dim: 5}", "tanh",
              "dense: {units: 11, tied_to: embedding_1}"],
             table | {"dense_1.bias": normal(11)},
             lambda p, x: F.embedding(x, p["embedding_1.weight"]).tanh()
             @ p["embedding_1.weight"].T + p["dense_1.bias"],
             normal(5, 6, 11)),
    ]
