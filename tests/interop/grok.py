"""Grok-1 in PyTorch, of which transformers has no class, by the rules of the two folders that were made of its weights.

Written from what these say, not copied: hpcai-tech/grok-1 (configuration_grok1.py, modeling_grok1.py), the names of which
vLLM's grok1.py maps as well, and keyfan/grok-1-hf (configuration_grok.py, modeling_grok.py), the names of which llama.cpp's
conversion/grok.py does. The rule itself is xAI's, github.com/xai-org/grok-1, model.py: norms before and behind both
sub-layers, scores capped by a tanh, weights of experts that are not renormalised.
"""

import torch
import transformers
from transformers.activations import ACT2FN
from transformers.modeling_outputs import CausalLMOutput


class HpcaiConfig(transformers.PretrainedConfig):
    model_type = "grok-1"

    def __init__(self, num_experts=8, max_attn_value=30.0, **keys):
        self.num_experts = num_experts
        self.max_attn_value = max_attn_value
        super().__init__(**SIZES | keys)


class KeyfanConfig(transformers.PretrainedConfig):
    model_type = "grok"

    def __init__(self, num_local_experts=8, hidden_act="gelu", rope_theta=1e5, **keys):
        self.num_local_experts = num_local_experts
        self.hidden_act = hidden_act
        self.rope_theta = rope_theta
        super().__init__(**SIZES | keys)


# As in the published config.json; keys of this kind are attributes of a PretrainedConfig.
SIZES = dict(
    vocab_size=131072, hidden_size=6144, intermediate_size=32768, num_hidden_layers=64, num_attention_heads=48,
    num_key_value_heads=8, max_position_embeddings=8192, rms_norm_eps=1e-5, num_experts_per_tok=2,
    attn_output_multiplier=0.08838834764831845, embedding_multiplier_scale=78.38367176906169,
    output_multiplier_scale=0.5773502691896257, tie_word_embeddings=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
)  # fmt: skip


def linear(inputs, outputs):
    return torch.nn.Linear(inputs, outputs, bias=False)


class Norm(torch.nn.Module):
    def __init__(self, config, gain):
        super().__init__()
        self.eps = config.rms_norm_eps
        self.gain = gain
        setattr(self, gain, torch.nn.Parameter(torch.ones(config.hidden_size)))

    def forward(self, x):
        return getattr(self, self.gain) * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def rotate(x, theta):
    """x [heads, T, width]: columns i and i + width / 2 are a pair, which position t turns by t theta^(-2 i / width)."""
    width = x.shape[-1]
    frequencies = theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(x.shape[-2], dtype=torch.float64), frequencies)
    sin, cos = angles.sin().float(), angles.cos().float()
    left, right = x[..., : width // 2], x[..., width // 2 :]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)


def attend(x, query, key, value, output, config, theta, cap):
    """x [T, H]."""
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    width = config.hidden_size // heads

    def split(projected, count):
        return projected.view(len(x), count, width).transpose(0, 1)

    q = rotate(split(query(x), heads), theta)
    k = rotate(split(key(x), groups), theta).repeat_interleave(heads // groups, dim=0)
    v = split(value(x), groups).repeat_interleave(heads // groups, dim=0)
    scores = cap * torch.tanh(q @ k.transpose(1, 2) * config.attn_output_multiplier / cap)
    future = torch.ones(len(x), len(x), dtype=torch.bool).triu(1)
    weights = scores.masked_fill(future, -torch.inf).softmax(-1)
    return output((weights @ v).transpose(0, 1).reshape(len(x), -1))


class Expert(torch.nn.Module):
    def __init__(self, config, activation):
        super().__init__()
        self.linear = linear(config.hidden_size, config.intermediate_size)
        self.linear_v = linear(config.hidden_size, config.intermediate_size)
        self.linear_1 = linear(config.intermediate_size, config.hidden_size)
        self.activation = activation

    def forward(self, x):
        return self.linear_1(self.activation(self.linear(x)) * self.linear_v(x))


def mix(x, router, experts, top_k):
    """The softmax is over all experts, and the weights of the best remain as they are. x [T, H]."""
    weights, chosen = router(x).softmax(-1).topk(top_k)
    rows = [sum(weight * experts[int(expert)](row) for weight, expert in zip(*choice, strict=True))
            for row, *choice in zip(x, weights, chosen, strict=True)]
    return torch.stack(rows)


class HpcaiAttention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, width = config.hidden_size, config.hidden_size // config.num_attention_heads
        self.config = config
        self.q_proj = linear(hidden, hidden)
        self.k_proj = linear(hidden, width * config.num_key_value_heads)
        self.v_proj = linear(hidden, width * config.num_key_value_heads)
        self.o_proj = linear(hidden, hidden)

    def forward(self, x):
        return attend(x, self.q_proj, self.k_proj, self.v_proj, self.o_proj, self.config, 10000.0,
                      self.config.max_attn_value)


class HpcaiMixture(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.gate = linear(config.hidden_size, config.num_experts)
        self.experts = torch.nn.ModuleList(Expert(config, torch.nn.GELU()) for _ in range(config.num_experts))

    def forward(self, x):
        return mix(x, self.gate, self.experts, self.top_k)


class HpcaiLayer(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attn = HpcaiAttention(config)
        self.moe_block = HpcaiMixture(config)
        for name in ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"):
            setattr(self, name, Norm(config, "scale"))

    def forward(self, x):
        x = x + self.post_attn_norm(self.attn(self.pre_attn_norm(x)))
        return x + self.post_moe_norm(self.moe_block(self.pre_moe_norm(x)))


class KeyfanAttention(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, width = config.hidden_size, config.hidden_size // config.num_attention_heads
        self.config = config
        self.query = linear(hidden, hidden)
        self.key = linear(hidden, width * config.num_key_value_heads)
        self.value = linear(hidden, width * config.num_key_value_heads)
        self.linear = linear(hidden, hidden)

    def forward(self, x):
        return attend(x, self.query, self.key, self.value, self.linear, self.config, self.config.rope_theta, 30.0)


class KeyfanLayer(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.multi_head_attention = KeyfanAttention(config)
        self.router = linear(config.hidden_size, config.num_local_experts)
        activation = ACT2FN[config.hidden_act]
        self.moe = torch.nn.ModuleList(Expert(config, activation) for _ in range(config.num_local_experts))
        for name in ("rms_norm", "rms_norm_1", "rms_norm_2", "rms_norm_3"):
            setattr(self, name, Norm(config, "weight"))

    def forward(self, x):
        x = x + self.rms_norm_1(self.multi_head_attention(self.rms_norm(x)))
        return x + self.rms_norm_3(mix(self.rms_norm_2(x), self.router, self.moe, self.top_k))


class Stack(torch.nn.Module):
    def __init__(self, config, embedding, layers, layer_class, norm, gain):
        super().__init__()
        self.names = embedding, layers, norm
        self.scale = config.embedding_multiplier_scale
        setattr(self, embedding, torch.nn.Embedding(config.vocab_size, config.hidden_size))
        setattr(self, layers, torch.nn.ModuleList(layer_class(config) for _ in range(config.num_hidden_layers)))
        setattr(self, norm, Norm(config, gain))

    def forward(self, ids):
        embedding, layers, norm = (getattr(self, name) for name in self.names)
        x = embedding(ids) * self.scale
        for layer in layers:
            x = layer(x)
        return norm(x)


class GrokModel(transformers.PreTrainedModel):
    """What both have in common: a stack, and a head that may be its embedding."""

    def __init__(self, config):
        super().__init__(config)
        self.lm_head = linear(config.hidden_size, config.vocab_size)

    def _init_weights(self, module):
        pass

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids):
        [ids] = input_ids
        hidden = getattr(self, self.base_model_prefix)(ids)
        return CausalLMOutput(logits=self.lm_head(hidden)[None] * self.config.output_multiplier_scale)


class Grok1ModelForCausalLM(GrokModel):
    config_class = HpcaiConfig
    base_model_prefix = "model"
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = Stack(config, "embed_tokens", "layers", HpcaiLayer, "norm", "scale")
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens


class GrokForCausalLM(GrokModel):
    config_class = KeyfanConfig
    base_model_prefix = "transformer"
    _tied_weights_keys = {"lm_head.weight": "transformer.in_out_embed.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.transformer = Stack(config, "in_out_embed", "decoder_layer", KeyfanLayer, "rms_norm", "weight")
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.in_out_embed


for model_class in (Grok1ModelForCausalLM, GrokForCausalLM):
    transformers.AutoConfig.register(model_class.config_class.model_type, model_class.config_class)
    transformers.AutoModelForCausalLM.register(model_class.config_class, model_class)
