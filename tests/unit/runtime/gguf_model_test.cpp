#include "runtime/interchange/gguf/model.hpp"

#include <catch2/catch.hpp>

#include <algorithm>

#include "model/families/preset.hpp"
#include "runtime/interchange/gguf/convert.hpp"
#include "runtime/interchange/our_tensors.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

Config scaled_down(const std::string& name) {
    const model::Preset preset = model::find_preset(name).value();
    Config config;
    config.model = preset.model;
    config.moe = preset.moe;
    model::scale_down(config.model, config.moe);
    return config;
}

gguf::GgufModel describe(const Config& config) {
    const OurTensors ours = our_tensors(config);
    return gguf::describe(config, gguf::choose_architecture(config), ours.shapes, ours.router_state);
}

/// The header of a file as another program would write it: without our settings.
gguf::Header foreign_header(const gguf::GgufModel& model) {
    gguf::Header header;
    for (const gguf::Key& key : model.keys)
        if (!key.name.starts_with("switchyard.")) header.keys.push_back(key);
    header.tensors = gguf::stored_tensors(model.model, Storage::f32);
    return header;
}

std::string chosen(const std::string& preset) {
    return gguf::choose_architecture(scaled_down(preset));
}

}  // namespace

TEST_CASE(
    "gguf model: a preset goes to the architecture of its family, or to the one whose routing is all "
    "metadata",
    "[unit]") {
    CHECK(chosen("llama-3-8b") == "llama");
    CHECK(chosen("mixtral-8x22b") == "llama");
    CHECK(chosen("qwen3-235b-a22b") == "qwen3moe");
    CHECK(chosen("olmoe-1b-7b") == "olmoe");
    CHECK(chosen("qwen2-57b-a14b") == "qwen2moe");
    CHECK(chosen("deepseek-moe-16b") == "glm4moe");
    CHECK(chosen("deepseek-v2-lite") == "deepseek2");
    CHECK(chosen("deepseek-v3") == "deepseek2");
    CHECK(chosen("gemma-2-9b") == "gemma2");
    CHECK(chosen("dbrx") == "dbrx");
    CHECK(chosen("gpt-2-xl") == "gpt2");
    CHECK(chosen("bloom-176b") == "bloom");
    CHECK(chosen("t5-base") == "t5");
    CHECK(chosen("t5-v1.1-base") == "t5");
    CHECK(chosen("bert-base") == "bert");
}

TEST_CASE("gguf model: what llama.cpp cannot compute is refused, every setting by name", "[unit]") {
    Config config = scaled_down("mixtral-8x7b");
    config.moe.router = "expert_choice";
    config.model.logit_softcap = 30.0;
    CHECK_THROWS_WITH(gguf::choose_architecture(config), Catch::Contains("llama") &&
                                                             Catch::Contains("moe.router: only top_k") &&
                                                             Catch::Contains("model.logit_softcap: only 0"));
    CHECK_THROWS_WITH(chosen("opt-125m"),
                      Catch::Contains("gpt2") && Catch::Contains("OPT, of which llama.cpp has no graph"));
    for (const char* const preset : {"gpt-j-6b", "switch-base-8", "palm-540b"}) {
        INFO(preset);
        CHECK_THROWS_AS(chosen(preset), ConfigError);
    }
    // Grok-1 does not renormalise, llama.cpp's graph does.
    config = scaled_down("grok-1");
    CHECK_THROWS_WITH(gguf::choose_architecture(config), Catch::Contains("moe.renormalise: only yes"));
    config.moe.renormalise = true;
    CHECK(gguf::choose_architecture(config) == "grok");
    config = scaled_down("olmoe-1b-7b");
    config.model.attention.clip_qkv = 8.0;
    CHECK_THROWS_WITH(gguf::choose_architecture(config), Catch::Contains("attention.clip_qkv: only 0"));
    config = scaled_down("llama-3-8b");
    config.model.position.rope_scaling = model::RopeScaling::llama3;
    CHECK_THROWS_WITH(gguf::choose_architecture(config), Catch::Contains("position.rope_scaling"));
    // The best group by its best expert, not by its best two.
    config = scaled_down("deepseek-v2");
    CHECK_THROWS_WITH(gguf::choose_architecture(config), Catch::Contains("moe.group_score"));
    config = scaled_down("mixtral-8x7b");
    config.moe.renormalise = false;
    CHECK(gguf::choose_architecture(config) == "glm4moe");
    CHECK_THROWS_WITH(gguf::choose_architecture(config, "llama"),
                      Catch::Contains("moe.renormalise: only yes"));
    CHECK_THROWS_WITH(gguf::choose_architecture(config, "mamba"),
                      Catch::Contains("'mamba' is not known here"));
}

TEST_CASE("gguf model: the keys of another program's file mean the settings that gave them", "[unit]") {
    for (const char* const preset :
         {"llama-3-8b", "mixtral-8x7b", "qwen3-30b-a3b", "olmoe-1b-7b", "deepseek-v3", "deepseek-v2-lite",
          "gemma-2-9b", "dbrx", "gpt-2", "bloom-176b", "qwen2-57b-a14b", "bert-base"}) {
        INFO(preset);
        const Config config = scaled_down(preset);
        const gguf::GgufModel model = describe(config);
        const gguf::Header header = foreign_header(model);
        const Config read = gguf::read_settings(header);
        const gguf::GgufModel again = describe(read);
        CHECK(gguf::tensor_problems(again.model, header).empty());
        CHECK(foreign_header(again).keys == header.keys);
        CHECK(read.model.hidden == config.model.hidden);
    }
}

TEST_CASE("gguf model: our own files give the same settings again, without what is not the model's",
          "[unit]") {
    Config config = scaled_down("deepseek-v3");
    config.data.path = "/home/someone/text";
    config.moe.balance.sequence_loss = 0.25;
    const gguf::GgufModel model = describe(config);
    gguf::Header header = foreign_header(model);
    header.keys = model.keys;
    const Config read = gguf::read_settings(header);
    config.data.path.clear();
    config.model.mtp_depth = 0;
    CHECK(dump(read) == dump(config));
    CHECK_FALSE(gguf::export_notes(scaled_down("deepseek-v3")).empty());
}

TEST_CASE("gguf model: an encoder comes back without its head, which no graph of llama.cpp has", "[unit]") {
    Config config = scaled_down("bert-base");
    const gguf::GgufModel model = describe(config);
    gguf::Header header = foreign_header(model);
    CHECK(std::ranges::none_of(header.tensors, [](const gguf::Tensor& tensor) {
        return tensor.name.starts_with("output") || tensor.name.starts_with("cls");
    }));
    CHECK(*header.find("tokenizer.ggml.token_type_count") == gguf::Value(std::uint32_t{2}));
    CHECK(*header.find("bert.attention.causal") == gguf::Value(false));
    header.keys = model.keys;
    const Config read = gguf::read_settings(header);
    config.model.head_bias = config.model.head_transform = false;
    CHECK(dump(read) == dump(config));
    // llama.cpp wants a type of tokens: one of zeros where the model has none.
    config.model.token_types = 0;
    const gguf::Header untyped = foreign_header(describe(config));
    CHECK(*untyped.find("tokenizer.ggml.token_type_count") == gguf::Value(std::uint32_t{1}));
    // The graph's GELU is the one with tanh; other activations it has not.
    CHECK(gguf::export_notes(config).size() == 2);
    config.model.activation = model::Activation::gelu_tanh;
    CHECK(gguf::choose_architecture(config) == "bert");
    CHECK(gguf::export_notes(config).size() == 1);
    config.model.activation = model::Activation::relu;
    config.model.norm_placement = model::NormPlacement::pre;
    CHECK_THROWS_WITH(gguf::choose_architecture(config),
                      Catch::Contains("bert") && Catch::Contains("model.activation") &&
                          Catch::Contains("model.norm_placement: only post"));
}

TEST_CASE("gguf model: keys and tensors that have no place here are refused by name", "[unit]") {
    const gguf::GgufModel model = describe(scaled_down("mixtral-8x7b"));
    gguf::Header header = foreign_header(model);
    header.keys.push_back({"llama.attention.clamp_kqv", 8.0F});
    header.keys.push_back({"llama.attention.scale", 1.0F});
    CHECK_THROWS_WITH(gguf::read_settings(header), Catch::Contains("llama.attention.clamp_kqv") &&
                                                       Catch::Contains("llama.attention.scale"));
    header = foreign_header(model);
    header.tensors[0].shape = Shape{256, 65};
    header.tensors[1].name = "rope_freqs.weight";
    const std::vector<std::string> problems = gguf::tensor_problems(model.model, header);
    REQUIRE(problems.size() == 3);
    CHECK_THAT(problems[0], Catch::Contains("[256, 65], expected [256, 64]"));
    CHECK_THAT(problems[1], Catch::Contains("there is no tensor output_norm.weight"));
    CHECK_THAT(problems[2], Catch::Contains("rope_freqs.weight") && Catch::Contains("has no place here"));
    header = foreign_header(model);
    for (gguf::Key& key : header.keys)
        if (key.name == "llama.block_count") key.value = std::uint32_t{4'000'000'000};
    CHECK_THROWS_WITH(gguf::read_settings(header), Catch::Contains("4000000000 layers"));
    header = foreign_header(model);
    std::erase_if(header.keys, [](const gguf::Key& key) { return key.name == "llama.embedding_length"; });
    CHECK_THROWS_WITH(gguf::read_settings(header), Catch::Contains("llama.embedding_length is missing"));
}

TEST_CASE("gguf model: vectors and the router stay float32, rows that no block fits are refused", "[unit]") {
    const gguf::GgufModel model = describe(scaled_down("mixtral-8x7b"));
    for (const gguf::Tensor& tensor : gguf::stored_tensors(model.model, Storage::bf16)) {
        INFO(tensor.name);
        const bool kept = tensor.shape.num_dims() == 1 || tensor.name.find("gate_inp") != std::string::npos;
        CHECK(tensor.storage == (kept ? Storage::f32 : Storage::bf16));
    }
    ForeignModel narrow;
    narrow.tensors = {{.name = "blk.0.attn_q.weight", .shape = {4, 24}, .parts = {}}};
    CHECK_THROWS_WITH(gguf::stored_tensors(narrow, Storage::q8_0),
                      Catch::Contains("blk.0.attn_q.weight [4, 24]") && Catch::Contains("no multiple of 32"));
}
