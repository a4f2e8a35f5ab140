"""Attention and positions in plain PyTorch, from the papers.

Sources: RoPE in the half-split form of LLaMA and the interleaved one of GPT-J (Su et al. 2021), grouped-query attention
(Ainslie et al. 2023), multi-head latent attention (DeepSeek-V2, section 2.1, as published: keys and values expanded, no
absorbed products), ALiBi (Press et al. 2022), relative buckets (Raffel et al. 2020, section 2.1), QK norm (Henry et al.
2020), soft caps and windows (Gemma 2), cross-attention (Vaswani et al. 2017).
"""
import math

import torch


def attention_shapes(model, name):
    """Names and shapes of the products, and names and widths of the norms, of one layer's attention."""
    hidden, heads, head = model["hidden"], model["heads"], model["head_dim"]
    if not model["latent"]:
        shapes = {
            name + "query": (hidden, heads * head),
            name + "key": (hidden, model["kv_heads"] * head),
            name + "value": (hidden, model["kv_heads"] * head),
            name + "output": (heads * head, hidden),
        }
        return shapes, {name + part: head for part in ("query_norm", "key_norm")} if model["qk_norm"] else {}
    rank, compressed, rotary, value = (model[key] for key in ("query_rank", "kv_rank", "rope_dim", "value_dim"))
    shapes = {
        name + "query_down": (hidden, rank),
        name + "query": (rank, heads * (head + rotary)),
        name + "key_value_down": (hidden, compressed + rotary),
        name + "key_value_up": (compressed, heads * (head + value)),
        name + "output": (heads * value, hidden),
    }
    return shapes, {name + "query_norm": rank, name + "key_value_norm": compressed}


class Attention:
    """`weights` by logical name, as Reference has them; `layer` counts the blocks of a stack from 0."""

    def __init__(self, model, weights, rules):
        self.model, self.weights, self.rules = model, weights, rules

    def rms(self, x, name):
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.model["norm_eps"])
        return x * scale * self.weights[name + ".gain"]

    def rotate(self, x):
        """x [B, heads, S, D]: every pair of the first part of D turned by position * theta^(-2 i / D)."""
        width = round(x.shape[-1] * self.model["rope_fraction"])
        x, rest = x[..., :width], x[..., width:]
        exponent = torch.arange(0, width, 2, dtype=torch.float64) / width
        speed = self.model["rope_theta"] ** -exponent
        angle = torch.arange(x.shape[-2], dtype=torch.float64)[:, None] * speed * self.rules.rope_sign
        halves = self.model["rope_half_split"] == (self.rules.rope_pairs == "config")
        pairs = torch.complex(*(x.chunk(2, -1) if halves else (x[..., 0::2], x[..., 1::2])))
        turned = pairs * torch.polar(torch.ones_like(angle), angle)
        parts = [turned.real, turned.imag]
        turned = torch.cat(parts, -1) if halves else torch.stack(parts, -1).flatten(-2)
        return torch.cat([turned, rest], -1)

    def sees_all(self, name):
        """Whether a layer's queries see what follows them."""
        return self.rules.sees_all and (self.model["architecture"] == "encoder" or name.startswith("encoder."))

    def bias(self, length, name):
        """[heads, S, S] added to the scores, or 0."""
        model, heads = self.model, self.model["heads"]
        position = torch.arange(length)
        distance = position[:, None] - position
        if model["position"] == "alibi":
            slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1, dtype=torch.float64) / heads)
            if self.rules.alibi_slopes == "arithmetic":
                slopes = torch.arange(heads, 0, -1, dtype=torch.float64) / heads
            return -slopes[:, None, None] * distance
        if model["position"] == "t5":
            table = "encoder.position_bias" if name.startswith("encoder.") else "position_bias"
            count = model["t5_buckets"]
            if not self.sees_all(name) or not self.rules.t5_sides:
                return self.weights[table][self.bucket(distance.clamp_min(0), count)].permute(2, 0, 1)
            # Half of the buckets for keys behind the query.
            side = torch.where(distance < 0, count // 2, 0)
            return self.weights[table][side + self.bucket(distance.abs(), count // 2)].permute(2, 0, 1)
        return 0.0

    def bucket(self, distance, count):
        """Half of the buckets hold one distance each, the others grow as its logarithm up to the largest."""
        largest = self.model["t5_max_distance"]
        single = count // 2
        if self.rules.t5_growth == "linear":
            return distance.clamp_max(count - 1)
        growth = torch.log(distance.clamp_min(1) / single) / math.log(largest / single) * (count - single)
        return torch.where(distance < single, distance, (single + growth.long()).clamp_max(count - 1))

    def heads_of(self, x, name, count):
        return (x @ self.weights[name]).view(*x.shape[:2], count, -1).transpose(1, 2)

    def grouped(self, x, source, name):
        """source: what keys and values come from; positions say nothing about another one than x itself"""
        model, rotary = self.model, self.model["position"] == "rope" and source is x
        query = self.heads_of(x, name + "query", model["heads"])
        key = self.heads_of(source, name + "key", model["kv_heads"])
        value = self.heads_of(source, name + "value", model["kv_heads"])
        if model["qk_norm"] and self.rules.qk_norm:
            query, key = self.rms(query, name + "query_norm"), self.rms(key, name + "key_norm")
        if rotary:
            query, key = self.rotate(query), self.rotate(key)
        sharing = model["heads"] // model["kv_heads"]
        if self.rules.kv_sharing == "blocks":
            return query, key.repeat_interleave(sharing, 1), value.repeat_interleave(sharing, 1)
        return query, key.repeat(1, sharing, 1, 1), value.repeat(1, sharing, 1, 1)

    def latent(self, x, name):
        """A head's query and key: a part that does not turn, and one that does; all heads share the turned key."""
        model, rules = self.model, self.rules
        heads, plain, rotary = model["heads"], model["head_dim"], model["rope_dim"]
        query = self.rms(x @ self.weights[name + "query_down"], name + "query_norm")
        still, turning = self.heads_of(query, name + "query", heads).split([plain, rotary], -1)
        query = torch.cat([still, self.rotate(turning)], -1)
        compressed, turning = (x @ self.weights[name + "key_value_down"]).split([model["kv_rank"], rotary], -1)
        if rules.latent_norm:
            compressed = self.rms(compressed, name + "key_value_norm")
        expanded = self.heads_of(compressed, name + "key_value_up", heads)
        key, value = expanded.split([plain, model["value_dim"]], -1)
        turned = turning[:, None] if rules.latent_key == "still" else self.rotate(turning[:, None])
        return query, torch.cat([key, turned.expand(-1, heads, -1, -1)], -1), value

    def __call__(self, x, name, layer, memory=None):
        """x [B, S, H] -> [B, S, H]; memory [B, M, H] for cross-attention"""
        model, rules = self.model, self.rules
        batch, length, _ = x.shape
        source = x if memory is None else memory
        query, key, value = self.latent(x, name) if model["latent"] else self.grouped(x, source, name)
        usual = model["head_dim"] if rules.latent_scale == "plain" else query.shape[-1]
        scores = query @ key.transpose(-1, -2) * (model["attention_scale"] or usual**-0.5)
        cap = model["attention_softcap"]
        if cap > 0 and rules.attention_cap:
            scores = cap * torch.tanh(scores / cap)
        if memory is None:
            scores = scores + self.bias(length, name)
        if rules.causal and memory is None and not self.sees_all(name):
            position = torch.arange(length)
            distance = position[:, None] - position
            hidden = distance < 0
            if model["window"] > 0 and model["windowed"][layer]:
                hidden |= distance >= model["window"] + rules.window_more
            scores = scores.masked_fill(hidden, -math.inf)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, length, -1)
        return mixed @ self.weights[name + "output"]
