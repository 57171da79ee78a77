# SPDX-License-Identifier: Apache-2.0
"""transformer_block against nn.TransformerEncoderLayer (both orders of the norm), a block as in
GPT-2, one as in LLaMA, and a small language model with tied weights."""
import torch
import torch.nn.functional as F

from families.attention import attention_params, mean_rows, normal, self_attention
from make_models import Case

B, T, C, HEADS = 2, 7, 8, 2


def block_params(name, c=C, ffn=None, heads=HEADS, kv_heads=None, bias=True, gated=False, rms=False):
    ffn = ffn or 4 * c
    p = attention_params(name + "attention.", c, heads, kv_heads, bias=bias)
    p |= {name + "ffn_1.weight": normal(c, ffn, scale=c ** -0.5),
          name + "ffn_2.weight": normal(ffn, c, scale=ffn ** -0.5)}
    if gated:
        p[name + "ffn_gate.weight"] = normal(c, ffn, scale=c ** -0.5)
    for norm in ("norm_1.", "norm_2."):
        p[name + norm + "gamma"] = 1 + normal(c, scale=0.1)
        if bias and not rms:
            p[name + norm + "beta"] = normal(c, scale=0.1)
    if bias:
        p |= {name + "ffn_1.bias": normal(ffn, scale=0.1), name + "ffn_2.bias": normal(c, scale=0.1)}
    return p


def encoder_layer(p, x, activation, norm_first):
    """PyTorch's own layer, its parameters replaced by ours."""
    n = "transformer_block_1."
    layer = torch.nn.TransformerEncoderLayer(C, HEADS, 4 * C, 0.0, activation, batch_first=True,
                                             norm_first=norm_first, dtype=torch.float64).train()
    ours = {
        "self_attn.in_proj_weight": p[n + "attention.qkv.weight"].T,
        "self_attn.in_proj_bias": p[n + "attention.qkv.bias"],
        "self_attn.out_proj.weight": p[n + "attention.out.weight"].T,
        "self_attn.out_proj.bias": p[n + "attention.out.bias"],
        "linear1.weight": p[n + "ffn_1.weight"].T, "linear1.bias": p[n + "ffn_1.bias"],
        "linear2.weight": p[n + "ffn_2.weight"].T, "linear2.bias": p[n + "ffn_2.bias"],
    }
    for k in ("1", "2"):
        ours |= {f"norm{k}.weight": p[n + f"norm_{k}.gamma"], f"norm{k}.bias": p[n + f"norm_{k}.beta"]}
    return torch.func.functional_call(layer, ours, (x,))


def gpt_block(p, n, x, heads=HEADS):
    """As in GPT-2 (nanoGPT): norm first, gelu by tanh."""
    c = x.shape[-1]
    norm = lambda k, v: F.layer_norm(v, (c,), p[n + f"norm_{k}.gamma"], p.get(n + f"norm_{k}.beta"))
    x = x + self_attention(p, n + "attention.", norm(1, x), heads, causal=True)
    h = F.gelu(norm(2, x) @ p[n + "ffn_1.weight"] + p.get(n + "ffn_1.bias", 0), approximate="tanh")
    return x + h @ p[n + "ffn_2.weight"] + p.get(n + "ffn_2.bias", 0)


def llama_block(p, n, x):
    """As in LLaMA: rms_norm, rotary embedding, grouped queries, SwiGLU, no biases."""
    norm = lambda k, v: F.rms_norm(v, (C,), p[n + f"norm_{k}.gamma"], 1e-6)
    x = x + self_attention(p, n + "attention.", norm(1, x), 4, kv_heads=2, causal=True, theta=10000.0)
    h = norm(2, x)
    return x + (F.silu(h @ p[n + "ffn_1.weight"]) * (h @ p[n + "ffn_gate.weight"])) @ p[n + "ffn_2.weight"]


def language_model(p, ids):
    x = p["embedding_1.weight"][ids] + p["positional_embedding_1.weight"]
    for k in ("1", "2"):
        x = gpt_block(p, f"transformer_block_{k}.", x)
    return x @ p["embedding_1.weight"].T


def zoo_gpt(p, ids):
    x = p["tokens.weight"][ids] + p["positional_embedding_1.weight"]
    for k in ("1", "2"):
        x = gpt_block(p, f"transformer_block_{k}.", x)
    return F.layer_norm(x, (C,), p["layer_norm_1.gamma"]) @ p["tokens.weight"].T


def case(name, options, params, forward):
    return Case(name=name, model=f"input: [{T}, {C}]\nlayers:\n  - transformer_block: {{{options}}}\n",
                loss="mse", input=normal(B, T, C), target=normal(B, T, C), params=params,
                forward=forward, loss_fn=lambda p, t: mean_rows((p - t) ** 2))


def cases():
    n = "transformer_block_1."
    model = {"embedding_1.weight": normal(13, C), "positional_embedding_1.weight": normal(T, C)}
    for k in ("1", "2"):
        model |= block_params(f"transformer_block_{k}.", bias=False)
    gpt = {k: v.clone() for k, v in model.items() if k.startswith("transformer")}
    gpt |= {"tokens.weight": normal(13, C), "positional_embedding_1.weight": normal(T, C),
            "layer_norm_1.gamma": 1 + normal(C, scale=0.1)}
    block = "transformer_block: {heads: 2, causal: true, use_bias: false, activation: {name: gelu, approximate: tanh}}"
    return [
        case("encoder_norm_last", "heads: 2, norm_first: false, activation: relu", block_params(n),
             lambda p, x: encoder_layer(p, x, "relu", False)),
        case("encoder_norm_first", "heads: 2", block_params(n),
             lambda p, x: encoder_layer(p, x, "gelu", True)),
        case("gpt2", "heads: 2, causal: true, activation: {name: gelu, approximate: tanh}", block_params(n),
             lambda p, x: gpt_block(p, n, x)),
        case("llama", "heads: 4, kv_heads: 2, causal: true, rope: true, norm: rms_norm, norm_eps: 1.0e-6, "
             "use_bias: false, gated: true, ffn_units: 20",
             block_params(n, ffn=20, heads=4, kv_heads=2, bias=False, gated=True, rms=True),
             lambda p, x: llama_block(p, n, x)),
        Case(name="gpt",
             model=f"{{name: gpt, input: [{T}], vocabulary: 13, layers: 2, heads: 2, units: {C}, use_bias: false}}\n",
             loss="cross_entropy", input=torch.randint(13, (3, T)), target=torch.randint(13, (3, T)),
             params=gpt, forward=zoo_gpt,
             loss_fn=lambda p, t: F.cross_entropy(p.transpose(1, 2), t, reduction="none").mean(1)),
        Case(name="language_model",
             model=f"input: [{T}]\nlayers:\n  - embedding: {{input_dim: 13, output_dim: {C}}}\n"
                   f"  - positional_embedding\n  - {block}\n  - {block}\n"
                   "  - dense: {units: 13, use_bias: false, tied_to: embedding_1}\n",
             loss="mse", input=torch.randint(13, (3, T)), target=normal(3, T, 13),
             params=model, forward=language_model, loss_fn=lambda p, t: mean_rows((p - t) ** 2)),
    ]
