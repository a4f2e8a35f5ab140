#!/usr/bin/env python3
"""Counts parameters of transformers' models made from our presets' settings; no weights are made or fetched.

transformers_sizes.py FILE   (what preset_dump prints)

Ours, and what the preset says that a config cannot express, must be transformers' count to the last parameter.
"""
import json
import pathlib
import sys
import warnings

import torch
import transformers as hf

# Presets that transformers have no class for, or whose class is not the published architecture.
WITHOUT = {
    "transformer-2017-base", "transformer-2017-big", "gpt-3", "palm-540b", "chinchilla-70b", "gshard-600b", "grok-1",
    "switch-c", "switch-base", "deepseek-moe-16b",
}  # fmt: skip


def llama_like(m):
    return dict(
        vocab_size=m["vocab_size"],
        hidden_size=m["hidden"],
        num_hidden_layers=m["layers"],
        num_attention_heads=m["heads"],
        num_key_value_heads=m["kv_heads"],
        intermediate_size=m["ffn_width"],
        tie_word_embeddings=m["tied_head"],
    )


def head_dim(m):
    return m["head_dim"] or m["hidden"] // m["heads"]


def gpt2_like(m):
    return dict(
        vocab_size=m["vocab_size"], n_positions=m["seq_len"], n_embd=m["hidden"], n_layer=m["layers"], n_head=m["heads"]
    )


def deepseek(m, a, e):
    return dict(
        q_lora_rank=a["query_rank"] or None,
        kv_lora_rank=a["kv_rank"],
        qk_nope_head_dim=m["head_dim"],
        qk_rope_head_dim=a["rope_dim"],
        v_head_dim=a["value_dim"] or m["head_dim"],
        n_routed_experts=e["experts"],
        n_shared_experts=e["shared_experts"],
        num_experts_per_tok=e["top_k"],
        moe_intermediate_size=e["expert_width"],
        first_k_dense_replace=int(e["layers"].removeprefix("from:")),
        n_group=e["groups"] or 1,
        topk_group=e["group_limit"] or 1,
    )


def t5_like(m):
    return dict(
        vocab_size=m["vocab_size"],
        d_model=m["hidden"],
        d_kv=head_dim(m),
        d_ff=m["ffn_width"],
        num_layers=m["layers"],
        num_decoder_layers=m["layers"],
        num_heads=m["heads"],
        tie_word_embeddings=m["tied_head"],
    )


def build(name, config):
    """The class and its config for one preset."""
    m, a, e, p = config["model"], config["attention"], config["moe"], config["position"]
    llama = llama_like(m)
    if name.startswith("bert"):
        return hf.BertForMaskedLM, hf.BertConfig(
            vocab_size=m["vocab_size"], hidden_size=m["hidden"], num_hidden_layers=m["layers"],
            num_attention_heads=m["heads"], intermediate_size=m["ffn_width"], max_position_embeddings=m["seq_len"],
        )  # fmt: skip
    if name == "gpt-1":
        return hf.OpenAIGPTLMHeadModel, hf.OpenAIGPTConfig(**gpt2_like(m))
    if name.startswith("gpt-2"):
        return hf.GPT2LMHeadModel, hf.GPT2Config(**gpt2_like(m))
    if name == "gpt-j-6b":
        return hf.GPTJForCausalLM, hf.GPTJConfig(
            **gpt2_like(m), rotary_dim=int(head_dim(m) * p["rope_fraction"]), tie_word_embeddings=False
        )
    if name.startswith("opt"):
        return hf.OPTForCausalLM, hf.OPTConfig(
            vocab_size=m["vocab_size"], hidden_size=m["hidden"], word_embed_proj_dim=m["hidden"],
            num_hidden_layers=m["layers"], num_attention_heads=m["heads"], ffn_dim=m["ffn_width"],
            max_position_embeddings=m["seq_len"],
        )  # fmt: skip
    if name.startswith("bloom"):
        return hf.BloomForCausalLM, hf.BloomConfig(
            vocab_size=m["vocab_size"], hidden_size=m["hidden"], n_layer=m["layers"], n_head=m["heads"]
        )
    if name.startswith("t5"):
        gated = "gated-gelu" if "glu" in m["activation"] else "relu"
        t5 = hf.T5Config(**t5_like(m), feed_forward_proj=gated)
        # The constructor ties whatever it is told; the published weights of version 1.1 have a head of their own.
        t5.tie_word_embeddings = m["tied_head"]
        return hf.T5ForConditionalGeneration, t5
    if name == "switch-base-8":
        return hf.SwitchTransformersForConditionalGeneration, hf.SwitchTransformersConfig(
            **t5_like(m), num_experts=e["experts"], num_sparse_encoder_layers=m["layers"] // 2,
            num_sparse_decoder_layers=m["layers"] // 2,
        )  # fmt: skip
    if name.startswith("llama"):
        return hf.LlamaForCausalLM, hf.LlamaConfig(**llama)
    if name.startswith("gemma"):
        return hf.Gemma2ForCausalLM, hf.Gemma2Config(**llama, head_dim=head_dim(m))
    if name.startswith("mixtral"):
        return hf.MixtralForCausalLM, hf.MixtralConfig(
            **(llama | dict(intermediate_size=e["expert_width"])), num_local_experts=e["experts"]
        )
    if name == "dbrx":
        return hf.DbrxForCausalLM, hf.DbrxConfig(
            d_model=m["hidden"], n_heads=m["heads"], n_layers=m["layers"], vocab_size=m["vocab_size"],
            attn_config=dict(kv_n_heads=m["kv_heads"], rope_theta=p["rope_theta"], clip_qkv=8.0),
            ffn_config=dict(ffn_hidden_size=e["expert_width"], moe_num_experts=e["experts"], moe_top_k=e["top_k"]),
        )  # fmt: skip
    if name.startswith("olmoe"):
        return hf.OlmoeForCausalLM, hf.OlmoeConfig(
            **(llama | dict(intermediate_size=e["expert_width"])), num_experts=e["experts"]
        )
    experts = dict(
        num_experts=e["experts"], num_experts_per_tok=e["top_k"], moe_intermediate_size=e["expert_width"]
    )
    if name.startswith(("qwen1", "qwen2")):
        shared = e["shared_experts"] * e["expert_width"]
        return hf.Qwen2MoeForCausalLM, hf.Qwen2MoeConfig(
            **llama, **experts, shared_expert_intermediate_size=shared
        )
    if name.startswith("qwen3"):
        return hf.Qwen3MoeForCausalLM, hf.Qwen3MoeConfig(**llama, **experts, head_dim=head_dim(m))
    if name.startswith("deepseek-v2"):
        return hf.DeepseekV2ForCausalLM, hf.DeepseekV2Config(**llama, **deepseek(m, a, e))
    if name == "deepseek-v3":
        return hf.DeepseekV3ForCausalLM, hf.DeepseekV3Config(**llama, **deepseek(m, a, e))
    raise ValueError(f"{name}: say here which class of transformers it is, or add it to WITHOUT")


def count(model_class, config):
    with torch.device("meta"):
        model = model_class(config)
    model.tie_weights()
    # The stacks of an encoder-decoder read one embedding, which transformers untie together with the head.
    copies = {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight"}
    parameters = {id(p): p.numel() for n, p in model.named_parameters() if n not in copies}
    # The published weights of V3 hold its selection biases, which transformers keep as buffers.
    biases = sum(b.numel() for n, b in model.named_buffers() if n.endswith("e_score_correction_bias"))
    return sum(parameters.values()) + biases


def main():
    warnings.filterwarnings("ignore")
    hf.utils.logging.set_verbosity_error()
    wrong = compared = 0
    for line in pathlib.Path(sys.argv[1]).read_text().splitlines():
        preset = json.loads(line)
        name = preset["name"]
        if name in WITHOUT:
            print(f"{name}: transformers have no such model")
            continue
        theirs = count(*build(name, preset["config"]))
        ours = preset["parameters"] + preset["beyond"]
        compared += 1
        if ours != theirs:
            wrong += 1
            print(f"{name}: {ours} here, {theirs} in transformers, {ours - theirs} more")
    print(f"transformers {hf.__version__}: {compared} presets compared, {wrong} differ")
    return 1 if wrong or compared < 25 else 0


if __name__ == "__main__":
    sys.exit(main())
