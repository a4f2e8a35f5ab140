"""Random models of transformers are imported, compared, exported and opened again; models that were trained here are
exported and compared. Arguments: SWITCHYARD LOGITS_DUMP SCRATCH [FAMILY...]."""

import json
import pathlib
import subprocess
import sys

import numpy
import torch
import transformers
from safetensors.torch import load_file, save_file

import grok

SWITCHYARD, LOGITS_DUMP = sys.argv[1:3]
SCRATCH = pathlib.Path(sys.argv[3])
ONLY = set(sys.argv[4:])
NUM_IDS = 64
NUM_GREEDY = 5
TOLERANCE = 1e-4

NO_IDS = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None)
GPT = NO_IDS | dict(vocab_size=256, n_embd=32, n_layer=3, n_head=4, n_positions=96)
SIZES = NO_IDS | dict(
    vocab_size=256, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
    intermediate_size=48, max_position_embeddings=96,
)  # fmt: skip
T5 = dict(
    vocab_size=320, d_model=32, d_kv=12, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4,
    relative_attention_num_buckets=8, relative_attention_max_distance=24,
)  # fmt: skip
MIXTURE = dict(num_experts_per_tok=2, moe_intermediate_size=24)
BIASED = dict(
    n_routed_experts=8, n_shared_experts=1, first_k_dense_replace=1, routed_scaling_factor=1.7, norm_topk_prob=True,
    num_nextn_predict_layers=0,
)  # fmt: skip
LATENT = dict(
    kv_lora_rank=16, q_lora_rank=24, qk_rope_head_dim=8, qk_nope_head_dim=12, v_head_dim=10, rms_norm_eps=1e-6,
    num_key_value_heads=4,
)  # fmt: skip

# Name, class, settings; over SIZES but for those that have a vocabulary of their own, or count layers as n_layer.
THEIRS = [
    ("llama", "LlamaForCausalLM", dict(rms_norm_eps=1e-5, head_dim=12)),
    ("llama_biases", "LlamaForCausalLM", dict(attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    ("llama_llama3", "LlamaForCausalLM",
     dict(rope_parameters=dict(rope_type="llama3", rope_theta=5e5, factor=4.0, low_freq_factor=1.0,
                               high_freq_factor=4.0, original_max_position_embeddings=24))),
    ("llama_yarn", "LlamaForCausalLM",
     dict(rope_parameters=dict(rope_type="yarn", rope_theta=1e4, factor=4.0, original_max_position_embeddings=24))),
    ("mistral", "MistralForCausalLM", dict(sliding_window=20)),
    ("mixtral", "MixtralForCausalLM", dict(num_local_experts=4, num_experts_per_tok=2)),
    ("qwen3_moe", "Qwen3MoeForCausalLM",
     dict(MIXTURE, num_experts=8, norm_topk_prob=True, head_dim=16, mlp_only_layers=[1])),
    ("qwen3_moe_plain", "Qwen3MoeForCausalLM",
     dict(MIXTURE, num_experts=8, norm_topk_prob=False, decoder_sparse_step=2, attention_bias=True)),
    ("glm4_moe", "Glm4MoeForCausalLM",
     dict(MIXTURE | BIASED, head_dim=16, use_qk_norm=True, partial_rotary_factor=0.5, attention_bias=True)),
    ("deepseek_v3", "DeepseekV3ForCausalLM",
     dict(BIASED | LATENT, moe_intermediate_size=24, n_group=4, topk_group=2, num_experts_per_tok=4)),
    ("deepseek_v2", "DeepseekV2ForCausalLM",
     dict(MIXTURE | LATENT, n_routed_experts=8, n_shared_experts=2, first_k_dense_replace=1, q_lora_rank=None,
          topk_method="greedy", routed_scaling_factor=1.5)),
    ("deepseek_v2_groups", "DeepseekV2ForCausalLM",
     dict(MIXTURE | LATENT, n_routed_experts=8, n_shared_experts=1, first_k_dense_replace=0, n_group=4, topk_group=2,
          topk_method="group_limited_greedy")),
    ("olmoe", "OlmoeForCausalLM", dict(num_experts=8, num_experts_per_tok=2, clip_qkv=0.8)),
    ("olmoe_plain", "OlmoeForCausalLM",
     dict(num_experts=4, num_experts_per_tok=2, norm_topk_prob=True, attention_bias=True, tie_word_embeddings=True)),
    ("qwen2_moe", "Qwen2MoeForCausalLM",
     dict(MIXTURE, num_experts=8, shared_expert_intermediate_size=48, mlp_only_layers=[0])),
    ("dbrx", "DbrxForCausalLM",
     dict(vocab_size=256, d_model=32, n_heads=4, n_layers=3, max_seq_len=96,
          attn_config=dict(kv_n_heads=2, clip_qkv=0.8, rope_theta=5e5),
          ffn_config=dict(ffn_hidden_size=24, moe_num_experts=8, moe_top_k=3),
          rope_parameters=dict(rope_type="default", rope_theta=5e5))),
    ("dbrx_plain", "DbrxForCausalLM",
     dict(vocab_size=256, d_model=32, n_heads=4, n_layers=2, max_seq_len=96,
          attn_config=dict(kv_n_heads=4, clip_qkv=1e30, rope_theta=1e4),
          ffn_config=dict(ffn_hidden_size=24, moe_num_experts=4, moe_top_k=1, moe_normalize_expert_weights=None))),
    ("opt", "OPTForCausalLM",
     NO_IDS | dict(vocab_size=256, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, ffn_dim=48,
                   max_position_embeddings=96)),
    ("opt_plain", "OPTForCausalLM",
     NO_IDS | dict(vocab_size=256, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48,
                   max_position_embeddings=96, enable_bias=False, activation_function="gelu",
                   tie_word_embeddings=False)),
    ("bert", "BertForMaskedLM",
     dict(vocab_size=320, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=48,
          max_position_embeddings=96)),
    ("t5", "T5ForConditionalGeneration", T5),
    ("t5_1.1", "T5ForConditionalGeneration",
     T5 | dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
    ("switch", "SwitchTransformersForConditionalGeneration",
     T5 | dict(num_layers=4, num_decoder_layers=4, num_sparse_encoder_layers=2, num_sparse_decoder_layers=2,
               num_experts=4, expert_capacity=64)),
    ("grok_1", "Grok1ModelForCausalLM",
     dict(num_experts=8, num_experts_per_tok=2, max_attn_value=3.0, attn_output_multiplier=0.4,
          embedding_multiplier_scale=5.0)),
    ("grok", "GrokForCausalLM",
     dict(num_local_experts=4, num_experts_per_tok=3, hidden_act="gelu_pytorch_tanh", rope_theta=5e4,
          attn_output_multiplier=12.0, output_multiplier_scale=0.7, tie_word_embeddings=False)),
    ("gpt2", "GPT2LMHeadModel", GPT),
    ("gptj", "GPTJForCausalLM", GPT | dict(rotary_dim=4)),
    ("bloom", "BloomForCausalLM", NO_IDS | dict(vocab_size=256, hidden_size=32, n_layer=3, n_head=4)),
    ("gemma2", "Gemma2ForCausalLM",
     dict(head_dim=16, sliding_window=20, attn_logit_softcapping=5.0, final_logit_softcapping=3.0,
          query_pre_attn_scalar=9)),
]  # fmt: skip

# Name, class, preset, settings over it: trained here for a step.
OURS = [
    ("mixtral-8x7b", "MixtralForCausalLM", []),
    ("mixtral-8x7b", "MixtralForCausalLM", ["position.rope_pairs=interleaved"]),
    ("llama-3-8b", "LlamaForCausalLM", []),
    ("qwen3-30b-a3b", "Qwen3MoeForCausalLM", ["position.rope_pairs=interleaved"]),
    ("qwen1.5-moe-a2.7b", "Qwen2MoeForCausalLM", []),
    ("deepseek-v2-lite", "DeepseekV2ForCausalLM", ["moe.shared_experts=0", "position.rope_pairs=half_split"]),
    ("deepseek-v2", "DeepseekV2ForCausalLM", []),
    ("deepseek-v3", "DeepseekV3ForCausalLM", []),
    ("deepseek-v3", "DeepseekV3ForCausalLM", ["moe.router=top_k"]),
    ("gpt-2", "GPT2LMHeadModel", []),
    ("gpt-j-6b", "GPTJForCausalLM", []),
    ("bloom-176b", "BloomForCausalLM", []),
    ("gemma-2-9b", "Gemma2ForCausalLM", []),
    ("grok-1", "GrokForCausalLM", ["position.rope_pairs=interleaved"]),
    ("grok-1", "Grok1ModelForCausalLM", ["model.activation=geglu", "attention.softcap=5"]),
    ("olmoe-1b-7b", "OlmoeForCausalLM", ["position.rope_pairs=interleaved"]),
    ("qwen1.5-moe-a2.7b", "Qwen2MoeForCausalLM", ["moe.shared_gate=no"]),
    ("dbrx", "DbrxForCausalLM", ["model.norm_eps=1e-5", "position.rope_pairs=interleaved"]),
    ("opt-125m", "OPTForCausalLM", ["model.norm_eps=1e-5"]),
    ("bert-base", "BertForMaskedLM", []),
    ("t5-base", "T5ForConditionalGeneration", []),
    ("t5-v1.1-base", "T5ForConditionalGeneration", []),
    ("switch-base-8", "SwitchTransformersForConditionalGeneration", []),
]


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def our_logits(checkpoint, ids, folder):
    (folder / "ids").write_text(" ".join(map(str, ids)))
    run(LOGITS_DUMP, checkpoint, folder / "ids", folder / "logits")
    return numpy.fromfile(folder / "logits", dtype=numpy.float32).reshape(len(ids), -1)


def their_logits(model, ids):
    inputs = dict(input_ids=torch.tensor([ids]))
    if model.config.is_encoder_decoder:
        inputs = dict(input_ids=torch.tensor([ids[::-1]]), decoder_input_ids=torch.tensor([ids]))
    with torch.no_grad():
        return model(**inputs).logits[0].float().numpy()


def check_same(what, left, right):
    worst = float(numpy.abs(left - right).max())
    spread = float(numpy.abs(right).max())
    assert numpy.isfinite(left).all() and spread > 0.05, f"{what}: logits say nothing, at most {spread}"
    assert worst <= TOLERANCE * max(1.0, spread), f"{what}: logits differ by {worst}, of {spread}"
    return worst


def greedy(logits_of, ids):
    """The likeliest tokens after ids, one by one."""
    ids = list(ids)
    for _ in range(NUM_GREEDY):
        ids.append(int(logits_of(ids)[-1].argmax()))
    return ids


def load(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    if config.is_encoder_decoder:
        auto_class = transformers.AutoModelForSeq2SeqLM
    elif config.model_type == "bert":
        auto_class = transformers.AutoModelForMaskedLM
    else:
        auto_class = transformers.AutoModelForCausalLM
    model, report = auto_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    for kind in ("missing_keys", "mismatched_keys", "error_msgs"):
        assert not report[kind], f"{folder}: {kind}: {report[kind]}"
    unexpected = [key for key in report["unexpected_keys"] if ".layers.2." not in key]
    assert not unexpected, f"{folder}: unexpected keys {unexpected}"
    return model.eval()


def weights(folder):
    tensors = {}
    for file in folder.glob("model*.safetensors"):
        tensors |= load_file(file)
    return tensors


def randomise(model, generator):
    """Weights far from how models begin: norms, biases and selection biases included."""
    with torch.no_grad():
        biases = [pair for pair in model.named_buffers() if pair[0].endswith("e_score_correction_bias")]
        for name, tensor in [*model.named_parameters(), *biases]:
            noise = torch.randn(tensor.shape, generator=generator)
            is_norm = name.endswith(("weight", "scale")) and tensor.dim() == 1
            tensor.copy_(1 + 0.3 * noise if is_norm else 0.2 * noise if tensor.dim() > 1 else 0.1 * noise)


def check_fused(name, model, folder, expected):
    """The same weights with the experts of a layer in one tensor, as some folders have them."""
    model.save_pretrained(folder / "fused", save_original_format=False)
    assert any(key.endswith("gate_up_proj") for key in weights(folder / "fused")), f"{name}: nothing was fused"
    run(SWITCHYARD, "checkpoint", "import", folder / "fused", folder / "from-fused")
    run(SWITCHYARD, "checkpoint", "export", folder / "from-fused", folder / "unfused", "--to", "hf")
    unfused = weights(folder / "unfused")
    for key, value in expected.items():
        assert torch.equal(value, unfused[key]), f"{name}: {key} has changed on its way through fused experts"


def check_notices(name, model, ids, right):
    """Rows of one projection in a wrong order have to show in the logits."""
    matrix = next(tensor for key, tensor in model.named_parameters() if ".0." in key and tensor.dim() == 2)
    with torch.no_grad():
        matrix.copy_(matrix.roll(1, 0))
    difference = float(numpy.abs(their_logits(model, ids) - right).max())
    assert difference > 100 * TOLERANCE, f"{name}: rows in a wrong order change logits by {difference} alone"


def check_theirs(number, name, architecture, settings):
    folder = SCRATCH / f"theirs-{number}"
    folder.mkdir()
    is_own = hasattr(transformers, architecture)
    model_class = getattr(transformers if is_own else grok, architecture)
    torch.manual_seed(number)
    sizes = {} if "n_layer" in settings or "vocab_size" in settings else SIZES
    model = model_class(model_class.config_class(**(sizes | settings))).eval()
    randomise(model, torch.Generator().manual_seed(number))
    model.save_pretrained(folder / "hf")
    run(SWITCHYARD, "checkpoint", "import", folder / "hf", folder / "checkpoint")
    ids = numpy.random.default_rng(number).integers(0, 256, NUM_IDS).tolist()
    ours = our_logits(folder / "checkpoint", ids, folder)
    theirs = their_logits(model, ids)
    worst = check_same(f"{name}, imported", ours, theirs)
    begin = ids[:16]
    assert greedy(lambda x: our_logits(folder / "checkpoint", x, folder), begin) == greedy(
        lambda x: their_logits(model, x), begin), f"{name}: greedy continuations differ"
    run(SWITCHYARD, "checkpoint", "export", folder / "checkpoint", folder / "again", "--to", "hf",
        "--shard-size", "20KB")
    before, after = weights(folder / "hf"), weights(folder / "again")
    assert before.keys() == after.keys(), f"{name}: tensors {before.keys() ^ after.keys()}"
    for key, value in before.items():
        if key.endswith("decoder.embed_positions.weight"):  # OPT's begins with two rows that nobody reads
            value, after[key] = value[2:], after[key][2:]
        # 1 + weight is rounded when it comes here.
        is_shifted = name == "gemma2" and "norm" in key
        same = torch.allclose(value, after[key], rtol=0, atol=2**-23) if is_shifted else torch.equal(value, after[key])
        assert same, f"{name}: {key} has changed"
    again = load(folder / "again")
    assert type(again) is model_class, f"{name}: exported as {type(again).__name__}"
    check_same(f"{name}, exported again", their_logits(again, ids), theirs)
    if is_own and any(".experts.0." in key for key in before):
        check_fused(name, model, folder, before)
    check_notices(name, model, ids, theirs)
    print(f"{name}: imported, logits differ by at most {worst:.1e}; exported again to the bit")


def check_moments(name, folder):
    """After one step AdamW's moments are (1 - b1) g and (1 - b2) g^2 of the same gradient, wherever they lie."""
    moments = load_file(folder / "moments.safetensors")
    shapes = {key: value.shape for key, value in weights(folder).items()}
    ratio = (1 - 0.95) / (1 - 0.9) ** 2
    nonzero = 0
    for key, first in moments.items():
        if not key.endswith(".exp_avg"):
            continue
        second = moments[key + "_sq"]
        assert first.shape == second.shape == shapes[key.removesuffix(".exp_avg")], f"{name}: shape of {key}"
        assert torch.allclose(second, ratio * first * first, rtol=1e-4, atol=1e-12), f"{name}: moments of {key}"
        nonzero += bool(first.abs().max() > 0)
    # Experts that no token has chosen have none.
    assert nonzero > len(moments) // 4 > 0, f"{name}: {nonzero} of {len(moments) // 2} first moments are not 0"


def check_ours(number, preset, architecture, settings, text):
    name = " ".join([preset, *settings])
    folder = SCRATCH / f"ours-{number}"
    folder.mkdir()
    sets = [word for setting in settings for word in ("--set", setting)]
    run(SWITCHYARD, "train", "--preset", preset, "--scaled-down", "--set", f"data.path={text}", "--set",
        f"run.directory={folder}/run", "--set", "train.steps=1", "--set", "model.init_std=0.2", "--set",
        "train.eval_every=0", "--set", "model.seq_len=64", "--set", "train.global_batch=4", "--set", "model.norm_eps=1e-6", *sets)
    checkpoint = folder / "run" / "checkpoints" / "latest"
    run(SWITCHYARD, "checkpoint", "export", checkpoint, folder / "hf", "--to", "hf", "--with-moments")
    check_moments(name, folder / "hf")
    model = load(folder / "hf")
    assert type(model).__name__ == architecture, f"{name}: exported as {type(model).__name__}"
    ids = list(text.read_bytes()[:NUM_IDS])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "hf")
    assert tokenizer.encode("Añ\n€ 1", add_special_tokens=False) == list("Añ\n€ 1".encode()), f"{name}: tokenizer"
    worst = check_same(f"{name}, exported", our_logits(checkpoint, ids, folder), their_logits(model, ids))
    run(SWITCHYARD, "checkpoint", "import", folder / "hf", folder / "back")
    run(SWITCHYARD, "checkpoint", "export", folder / "back", folder / "again", "--to", "hf")
    before, after = weights(folder / "hf"), weights(folder / "again")
    assert before.keys() == after.keys(), f"{name}: tensors {before.keys() ^ after.keys()}"
    for key, value in before.items():
        assert torch.equal(value, after[key]), f"{name}: {key} has changed"
    config = json.loads((folder / "hf" / "config.json").read_text())
    assert config == json.loads((folder / "again" / "config.json").read_text()), f"{name}: config.json"
    print(f"{name}: exported, logits differ by at most {worst:.1e}; back and exported again to the bit")


def refused(what, folder, expected):
    """The import of a folder fails with a message, and leaves nothing."""
    target = folder.parent / f"{folder.name}-refused"
    done = subprocess.run([SWITCHYARD, "checkpoint", "import", folder, target], capture_output=True, text=True)
    assert done.returncode in (1, 2), f"{what}: exit code {done.returncode}"
    assert expected in done.stderr, f"{what}: expected '{expected}', found: {done.stderr}"
    assert not target.exists() and not pathlib.Path(f"{target}.conf").exists(), f"{what}: something was left"


def check_refusals():
    """Folders with one thing wrong."""
    model_class = transformers.Qwen2MoeForCausalLM
    settings = SIZES | MIXTURE | dict(num_experts=4, shared_expert_intermediate_size=24)
    model = model_class(model_class.config_class(**settings)).eval()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.shared_expert_gate.weight.zero_()
    folder = SCRATCH / "refused"
    model.config.switchyard_shared_gate = False
    model.save_pretrained(folder)
    run(SWITCHYARD, "checkpoint", "import", folder, SCRATCH / "not-refused")
    file = folder / "model.safetensors"
    right = load_file(file)
    norm = "model.norm.weight"

    def with_tensors(what, changes, expected):
        save_file({key: value for key, value in (right | changes).items() if value is not None}, file, {"format": "pt"})
        refused(what, folder, expected)

    gate = "model.layers.1.mlp.shared_expert_gate.weight"
    with_tensors("a missing tensor", {norm: None}, "import: model.norm.weight [32] is missing")
    with_tensors("an unknown tensor", {"extra": torch.ones(2)}, "import: extra [2] has no place")
    with_tensors("another shape", {norm: torch.ones(31)}, "model.norm.weight is [31], by config.json it should be [32]")
    with_tensors("not a number", {norm: torch.full((32,), float("nan"))}, "model.norm.weight in model.safetensors has a")
    with_tensors("a gate that is no constant", {gate: torch.ones(1, 32)}, f"{gate} must be 0 everywhere")
    save_file(right, file, {"format": "pt"})
    file.write_bytes(file.read_bytes()[:-4])
    refused("a file cut short", folder, "is no safetensors file of weights")
    save_file(right, file, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: "../model.safetensors" for key in right}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused("a file elsewhere", folder, "no plain name of a safetensors file")
    (folder / "model.safetensors.index.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | dict(clip_qkv=8, hidden_act="mish")))
    refused("keys", folder, "clip_qkv = 8 is not known")
    refused("keys", folder, "hidden_act = mish")
    print("refusals: 9 folders with one thing wrong each")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    text = SCRATCH / "text"
    text.write_bytes(bytes(numpy.random.default_rng(1).integers(32, 127, 20000).tolist()))
    failures = []
    for number, (name, *case) in enumerate(THEIRS):
        if ONLY and name not in ONLY:
            continue
        try:
            check_theirs(number, name, *case)
        except Exception as error:
            failures.append(f"{name}: {type(error).__name__}: {error}")
    for number, (preset, *case) in enumerate(OURS):
        if ONLY and preset not in ONLY:
            continue
        try:
            check_ours(number, preset, *case, text)
        except Exception as error:
            failures.append(f"{preset}: {type(error).__name__}: {error}")
    if not ONLY:
        try:
            check_refusals()
        except Exception as error:
            failures.append(f"refusals: {type(error).__name__}: {error}")
    for failure in failures:
        print("FAILED", failure)
    print(f"{len(THEIRS) + len(OURS)} models, transformers {transformers.__version__}, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
