# SPDX-License-Identifier: Apache-2.0
"""Losses against PyTorch: sequences with ignored labels, weights, CTC, and the formulas of Keras
where PyTorch has no such loss."""
import math

import torch
import torch.nn.functional as F

from make_models import Case


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def mean_rows(values):
    return values.flatten(1).mean(1)


def dense_case(name, loss, loss_fn, target, steps=(), units=3, end="", activation=lambda x: x):
    """One dense layer whose outputs are [B, *steps, units]."""
    shape = (*steps, units)
    width = math.prod(shape)
    reshape = f"  - reshape: {{shape: {list(shape)}}}\n" if steps else ""
    model = f"input: [4]\nlayers:\n  - dense: {{units: {width}}}\n{reshape}{end}"
    return Case(
        name=name, model=model, loss=loss, input=normal(len(target), 4), target=target,
        params={"dense_1.weight": normal(4, width), "dense_1.bias": normal(width)},
        forward=lambda p, x: activation(
            (x @ p["dense_1.weight"] + p["dense_1.bias"]).unflatten(1, shape)),
        loss_fn=loss_fn)


def sequence_cross_entropy(p, t, **options):
    """The mean over each sample's labels that count; 0 where none does."""
    each = F.cross_entropy(p.flatten(0, -2), t.flatten(), reduction="none", **options)
    counts = (t != options.get("ignore_index", -1)).sum(1).clamp(min=1)
    return each.view(t.shape).sum(1) / counts


def ctc(p, t, blank=0, per_label=True, zero_infinity=False):
    lengths = (t >= 0).sum(1)
    steps = torch.full((len(t),), p.shape[1])
    loss = F.ctc_loss(p.log_softmax(-1).transpose(0, 1), t.clamp(min=0), steps, lengths,
                      blank=blank, reduction="none", zero_infinity=zero_infinity)
    return loss / lengths.clamp(min=1) if per_label else loss


def binary_focal(x, t, alpha, gamma):
    p = torch.sigmoid(x)
    p_t = p * t + (1 - p) * (1 - t)
    weight = alpha * t + (1 - alpha) * (1 - t)
    bce = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    return mean_rows(weight * (1 - p_t) ** gamma * bce)


def focal(x, t, alpha, gamma):
    logp = -F.cross_entropy(x, t, reduction="none")
    return -alpha * (1 - logp.exp()) ** gamma * logp


def categorical_hinge(x, t):
    one_hot = F.one_hot(t, x.shape[-1])
    largest = ((1 - one_hot) * x).max(-1).values
    return F.relu(1 + largest - (one_hot * x).sum(-1))


def label_cases():
    labels = torch.tensor([[0, 2, -1, 1, 4], [-1, -1, -1, -1, -1], [3, 3, 0, -1, -1]])
    plain = torch.tensor([[0, 2, 1], [2, 2, 0]])
    weights = torch.tensor([0.5, 2.0, 1.0, 0.0, 1.5], dtype=torch.float64)
    listed = "[0.5, 2.0, 1.0, 0.0, 1.5]"
    steps = dict(steps=(5,), units=5)
    yield dense_case("sequence", "cross_entropy",
                     lambda p, t: F.cross_entropy(p.transpose(1, 2), t, reduction="none").mean(1),
                     plain, steps=(3,))
    yield dense_case("sequence_ignored", "cross_entropy",
                     lambda p, t: sequence_cross_entropy(p, t, ignore_index=-1), labels, **steps)
    yield dense_case("sequence_ends_in_softmax", "cross_entropy",
                     lambda p, t: sequence_cross_entropy(p.log(), t, ignore_index=-1), labels,
                     end="  - softmax\n", activation=lambda x: x.softmax(-1), **steps)
    yield dense_case(
        "sequence_smooth_weighted",
        f"{{cross_entropy: {{label_smoothing: 0.1, class_weights: {listed}}}}}",
        lambda p, t: sequence_cross_entropy(p, t, ignore_index=-1, label_smoothing=0.1,
                                            weight=weights), labels, **steps)
    yield dense_case("ignore_class", "{cross_entropy: {ignore_index: 2}}",
                     lambda p, t: sequence_cross_entropy(p, t, ignore_index=2), plain, steps=(3,))
    yield dense_case("ignore_unlabelled", "{cross_entropy: {ignore_index: -1}}",
                     lambda p, t: F.cross_entropy(p, t, reduction="none", ignore_index=-1),
                     torch.tensor([0, -1, 2, 1]))
    yield dense_case("class_weights", f"{{cross_entropy: {{class_weights: {listed}}}}}",
                     lambda p, t: F.cross_entropy(p, t, reduction="none", weight=weights),
                     torch.tensor([0, 4, 2, 1]), units=5)
    yield dense_case("focal", "{focal: {alpha: 0.7, gamma: 1.5}}",
                     lambda p, t: focal(p, t, 0.7, 1.5), torch.tensor([0, 2, 2, 1]))
    yield dense_case("categorical_hinge", "categorical_hinge", categorical_hinge,
                     torch.tensor([0, 2, 2, 1]))


def ctc_cases():
    labels = torch.tensor([[1, 2, 2, -1], [3, -1, -1, -1], [-1, -1, -1, -1], [1, 2, 3, 1]])
    steps = dict(steps=(9,), units=5)
    yield dense_case("ctc", "{ctc: {max_label_length: 4}}", ctc, labels, **steps)
    yield dense_case("ctc_last_blank", "{ctc: {max_label_length: 4, blank: 4, per_label: false}}",
                     lambda p, t: ctc(p, t, blank=4, per_label=False), labels - (labels > 0).long(),
                     **steps)
    yield dense_case("ctc_impossible", "{ctc: {max_label_length: 4, zero_infinity: true}}",
                     lambda p, t: ctc(p, t, zero_infinity=True), labels, steps=(3,), units=5)
    long_labels = torch.randint(1, 6, (2, 20))
    long_labels[1, 13:] = -1
    yield dense_case("ctc_long", "{ctc: {max_label_length: 20}}", ctc, long_labels, steps=(60,),
                     units=6)


def value_cases():
    signs = torch.where(normal(5, 3) > 0, 1.0, -1.0).double()
    bits = (signs > 0).double()
    shares = normal(5, 3).softmax(-1)
    counts = torch.randint(0, 6, (5, 3)).double()
    far = normal(5, 3)
    yield dense_case("hinge", "hinge", lambda p, t: mean_rows(F.relu(1 - t * p)), signs)
    yield dense_case("squared_hinge_bits", "squared_hinge",
                     lambda p, t: mean_rows(F.relu(1 - (2 * t - 1) * p) ** 2), bits)
    yield dense_case("log_cosh", "log_cosh", lambda p, t: mean_rows((p - t).cosh().log()), far)
    yield dense_case("cosine_similarity", "cosine_similarity",
                     lambda p, t: -F.cosine_similarity(p, t, dim=-1), far)
    yield dense_case("poisson", "poisson",
                     lambda p, t: mean_rows(F.poisson_nll_loss(p, t, reduction="none")), counts)
    yield dense_case(
        "poisson_rate", "{poisson: {log_input: false}}",
        lambda p, t: mean_rows(F.poisson_nll_loss(p, t, log_input=False, reduction="none")), counts,
        end="  - softplus\n", activation=F.softplus)
    yield dense_case("binary_focal", "binary_focal", lambda p, t: binary_focal(p, t, 0.25, 2), bits)
    yield dense_case("binary_focal_soft", "{binary_focal: {alpha: 0.6, gamma: 1.3}}",
                     lambda p, t: binary_focal(p, t, 0.6, 1.3), torch.rand(5, 3).double())

    def kl(logp, t):
        return F.kl_div(logp, t, reduction="none").sum(-1)

    yield dense_case("kl_logits", "kl_divergence", lambda p, t: kl(p.log_softmax(-1), t), shares)
    yield dense_case("kl_softmax", "{kl_divergence: {from: probabilities}}",
                     lambda p, t: kl(p.log(), t), shares, end="  - softmax\n",
                     activation=lambda x: x.softmax(-1))
    yield dense_case("kl_log_probabilities", "{kl_divergence: {from: log_probabilities}}", kl,
                     shares)
    yield dense_case("kl_sequence", "kl_divergence",
                     lambda p, t: kl(p.log_softmax(-1), t).mean(1),
                     normal(2, 4, 3).softmax(-1), steps=(4,))


def cases():
    return [*label_cases(), *ctc_cases(), *value_cases()]
