# SPDX-License-Identifier: Apache-2.0
"""multi_head_attention against scaled_dot_product_attention: causal, grouped queries, rotary
embedding, padding masks."""
import torch
import torch.nn.functional as F

from make_models import Case


def normal(*shape, scale=1.0):
    return scale * torch.randn(*shape, dtype=torch.float64)


def mean_rows(values):
    return values.flatten(1).mean(1)


def rotate(x, theta=10000.0):
    """x [B, heads, T, D]: d and d + D/2 turn by t theta^(-2d/D)."""
    t, size = x.shape[-2:]
    half = size // 2
    power = theta ** (-torch.arange(half, dtype=torch.float64) * 2 / size)
    angle = torch.arange(t, dtype=torch.float64)[:, None] * power
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def self_attention(p, prefix, x, heads, kv_heads=None, head_size=None, causal=False, theta=None, mask=None):
    """mask [B, T], 1 for real positions."""
    kv_heads = kv_heads or heads
    b, t, c = x.shape
    head_size = head_size or c // heads
    qkv = x @ p[prefix + "qkv.weight"] + p.get(prefix + "qkv.bias", 0)
    parts = qkv.split([heads * head_size, kv_heads * head_size, kv_heads * head_size], -1)
    q, k, v = (part.view(b, t, -1, head_size).transpose(1, 2) for part in parts)
    if theta:
        q, k = rotate(q, theta), rotate(k, theta)
    k, v = (part.repeat_interleave(heads // kv_heads, 1) for part in (k, v))
    allowed = torch.ones(t, t, dtype=torch.bool)
    if causal:
        allowed = allowed.tril()
    allowed = allowed.expand(b, 1, t, t)
    if mask is not None:
        allowed = allowed & (mask[:, None, None, :] > 0)
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    y = y.transpose(1, 2).reshape(b, t, heads * head_size)
    return y @ p[prefix + "out.weight"] + p.get(prefix + "out.bias", 0)


def attention_params(name, c, heads, kv_heads=None, head_size=None, bias=True):
    kv_heads = kv_heads or heads
    head_size = head_size or c // heads
    width = (heads + 2 * kv_heads) * head_size
    p = {name + "qkv.weight": normal(c, width, scale=c ** -0.5),
         name + "out.weight": normal(heads * head_size, c, scale=c ** -0.5)}
    if bias:
        p |= {name + "qkv.bias": normal(width, scale=0.3), name + "out.bias": normal(c, scale=0.3)}
    return p


def plain(name, options, t, c, **config):
    shape = {k: config[k] for k in ("heads", "kv_heads", "head_size") if k in config}
    return Case(
        name=name, model=f"input: [{t}, {c}]\nlayers:\n  - multi_head_attention: {{{options}}}\n",
        loss="mse", input=normal(3, t, c), target=normal(3, t, c),
        params=attention_params("multi_head_attention_1.", c, bias="use_bias" not in options, **shape),
        forward=lambda p, x: self_attention(p, "multi_head_attention_1.", x, **config),
        loss_fn=lambda p, t: mean_rows((p - t) ** 2))


def cases():
    masked = attention_params("multi_head_attention_1.", 8, 2) | {"embedding_1.weight": normal(7, 8)}
    ids = torch.randint(1, 7, (3, 6))
    ids[0, 4:] = 0
    ids[2, 1:] = 0
    return [
        plain("full", "heads: 2", 7, 8, heads=2),
        plain("causal", "heads: 3, causal: true, use_bias: false", 9, 12, heads=3, causal=True),
        plain("grouped", "heads: 4, kv_heads: 2, head_size: 6, causal: true", 10, 8,
              heads=4, kv_heads=2, head_size=6, causal=True),
        plain("rope", "heads: 2, rope: true, causal: true", 11, 12, heads=2, theta=10000.0, causal=True),
        plain("rope_theta", "heads: 2, rope: {theta: 50.0}", 5, 16, heads=2, theta=50.0),
        plain("long", "heads: 1, head_size: 4, causal: true", 150, 4, heads=1, head_size=4, causal=True),
        Case(name="masked",
             model="input: [6]\nlayers:\n"
                   "  - embedding: {input_dim: 7, output_dim: 8, mask_zero: true}\n"
                   "  - multi_head_attention: {heads: 2}\n",
             loss="mse", input=ids, target=normal(3, 6, 8), params=masked,
             forward=lambda p, x: self_attention(
                 p, "multi_head_attention_1.", p["embedding_1.weight"][x], 2, mask=(x != 0).double()),
             # Padding positions take no part in the loss.
             loss_fn=lambda p, t: (((p - t) ** 2).mean(2) * (ids != 0)).sum(1) / (ids != 0).sum(1)),
    ]
