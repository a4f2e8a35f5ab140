#include "runtime/interchange/hf_family.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "model/families/preset.hpp"
#include "runtime/interchange/byte_tokenizer.hpp"
#include "runtime/interchange/hf_export.hpp"
#include "runtime/interchange/hf_settings.hpp"
#include "runtime/tokenizer/byte_level.hpp"

using namespace sy;
using namespace sy::runtime;
using Catch::Contains;

namespace {

Config config_of(const std::string& preset) {
    Config config;
    const std::optional<model::Preset> found = model::find_preset(preset);
    REQUIRE(found.has_value());
    config.model = found->model;
    config.moe = found->moe;
    return config;
}

/// What reading a config.json with another value for a key says.
std::string reading_with(const std::string& preset, const std::string& key, const Json& value) {
    const Config config = config_of(preset);
    Json json = hf_config_json(choose_hf_family(config), config, "float32");
    json[key] = value;
    try {
        read_hf_config(json);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("hf family: presets are exported as their own class, and read back as they were", "[unit]") {
    const auto [preset, expected] =
        GENERATE(table<std::string, std::string>({{"llama-3-8b", "llama"},
                                                  {"mixtral-8x7b", "mixtral"},
                                                  {"qwen3-30b-a3b", "qwen3_moe"},
                                                  {"qwen2-57b-a14b", "qwen2_moe"},
                                                  {"deepseek-v2-lite", "deepseek_v2"},
                                                  {"deepseek-v3", "deepseek_v3"},
                                                  {"gpt-2", "gpt2"},
                                                  {"gpt-j-6b", "gptj"},
                                                  {"bloom-176b", "bloom"},
                                                  {"gemma-2-27b", "gemma2"},
                                                  {"olmoe-1b-7b", "olmoe"},
                                                  {"dbrx", "dbrx"},
                                                  {"grok-1", "grok"},
                                                  {"opt-175b", "opt"},
                                                  {"bert-large", "bert"},
                                                  {"t5-11b", "t5"},
                                                  {"t5-v1.1-xxl", "t5"},
                                                  {"switch-base-8", "switch_transformers"}}));
    CAPTURE(preset);
    const Config config = config_of(preset);
    const HfFamily& family = choose_hf_family(config);
    CHECK(family.name == expected);
    const HfConfig back = read_hf_config(hf_config_json(family, config, "bfloat16"));
    CHECK(back.family->name == expected);
    CHECK(differing_settings(without_inert_settings(config), without_inert_settings(back.config)).empty());
}

TEST_CASE("hf family: settings that a class lacks are named, all of them", "[unit]") {
    Config config = config_of("mixtral-8x7b");
    config.model.attention.softcap = 50.0;
    config.moe.renormalise = false;
    CHECK(hf_problems(find_hf_family("mixtral"), config) ==
          std::vector<std::string>{"attention.softcap = 50 would be read as 0",
                                   "moe.renormalise = no would be read as yes"});
    CHECK_THROWS_WITH(choose_hf_family(config), Contains("no class of transformers computes"));
}

TEST_CASE("hf family: layers of mixtures that Switch's counts cannot say, and gates that it lacks, are named",
          "[unit]") {
    Config config = config_of("switch-base-8");
    config.moe.layers = "every:4";
    CHECK_THROWS_WITH(choose_hf_family(config), Contains("moe.layers = every:4 would be read as"));
    config = config_of("switch-c");
    CHECK(choose_hf_family(config).name == "switch_transformers");
    config = config_of("switch-base");
    CHECK_THROWS_WITH(choose_hf_family(config), Contains("model.activation = geglu_tanh"));
}

TEST_CASE("hf family: of the two classes of Grok-1 one has the exact GELU, the other a cap that is fixed",
          "[unit]") {
    Config config = config_of("grok-1");
    CHECK(hf_problems(find_hf_family("grok-1"), config) ==
          std::vector<std::string>{"model.activation = geglu_tanh would be read as geglu"});
    config.model.activation = model::Activation::geglu;
    config.model.attention.softcap = 20.0;
    CHECK(choose_hf_family(config).name == "grok-1");
    CHECK(hf_problems(find_hf_family("grok"), config) ==
          std::vector<std::string>{"attention.softcap = 20 would be read as 30"});
    config.model.attention.softcap = 0.0;
    CHECK_THAT(hf_problems(find_hf_family("grok-1"), config).at(0), Contains("always has a cap"));
    config = config_of("grok-1");
    config.moe.renormalise = true;
    CHECK(hf_problems(find_hf_family("grok"), config) ==
          std::vector<std::string>{"moe.renormalise = yes would be read as no"});
}

TEST_CASE("hf family: settings that decide nothing are no problem", "[unit]") {
    Config config = config_of("llama-3-8b");
    config.moe.experts = 77;
    config.model.attention.kv_rank = 3;
    config.model.position.rope_pairs = model::RopePairs::interleaved;
    config.model.attention.scale = 1.0 / std::sqrt(128.0);
    config.moe.capacity_factor = 1.25;
    CHECK(hf_problems(find_hf_family("llama"), config).empty());
}

TEST_CASE("hf family: latent attention needs the eps that its norms have there", "[unit]") {
    Config config = config_of("deepseek-v3");
    config.model.norm_eps = 1e-5;
    const std::vector<std::string> problems = hf_problems(find_hf_family("deepseek_v3"), config);
    REQUIRE(problems.size() == 1);
    CHECK_THAT(problems[0], Contains("model.norm_eps = 1e-05"));
}

TEST_CASE("hf family: keys that are unknown, missing or not expressible are refused", "[unit]") {
    CHECK(reading_with("mixtral-8x7b", "transformers_version", "9.9") == "");
    CHECK_THAT(reading_with("mixtral-8x7b", "clip_qkv", 8), Contains("clip_qkv = 8 is not known"));
    CHECK_THAT(reading_with("mixtral-8x7b", "hidden_size", nullptr), Contains("hidden_size is missing"));
    CHECK_THAT(reading_with("mixtral-8x7b", "hidden_size", "big"), Contains("expected a whole number"));
    CHECK_THAT(reading_with("mixtral-8x7b", "hidden_act", "mish"), Contains("hidden_act = mish"));
    CHECK_THAT(reading_with("mixtral-8x7b", "rope_theta", 5.0),
               Contains("rope_theta is 5, in rope_parameters"));
    CHECK_THAT(reading_with("deepseek-v3", "scoring_func", "softmax"),
               Contains("scoring_func = \"softmax\" cannot be expressed here"));
    CHECK_THAT(reading_with("llama-3-8b", "model_type", "grok-9"), Contains("family 'grok-9' is unknown"));
    CHECK_THAT(reading_with("grok-1", "hidden_act", nullptr), Contains("hidden_act is missing"));
    CHECK_THAT(reading_with("grok-1", "attn_output_multiplier", nullptr),
               Contains("attn_output_multiplier is missing"));
    CHECK_THAT(reading_with("grok-1", "rope_scaling", Json::Object{{"type", "linear"}}),
               Contains("rope_scaling"));
    CHECK_THAT(reading_with("opt-125m", "word_embed_proj_dim", 512),
               Contains("word_embed_proj_dim = 512 cannot be expressed here, only 768"));
    CHECK_THAT(reading_with("switch-base-8", "num_sparse_decoder_layers", 4),
               Contains("are not one pattern"));
    CHECK_THAT(reading_with("bert-base", "is_decoder", true), Contains("is_decoder = true"));
    CHECK_THAT(reading_with("t5-base", "feed_forward_proj", "gated-mish"), Contains("= mish"));
}

TEST_CASE("hf settings: a pattern of layers is as short as it can be", "[unit]") {
    CHECK(short_pattern({true, true}) == "all");
    CHECK(short_pattern({false, false}) == "none");
    CHECK(short_pattern({false, true, false, true}) == "every:2");
    CHECK(short_pattern({false, true, true}) == "from:1");
    CHECK(short_pattern({true, false, false, true}) == "0,3");
}

TEST_CASE("hf export: sizes of shards are read strictly", "[unit]") {
    CHECK(parse_shard_size("5GB") == 5'000'000'000);
    CHECK(parse_shard_size("200MB") == 200'000'000);
    CHECK(parse_shard_size("4096") == 4096);
    for (const char* const text :
         {"", "GB", "0", "-1", "1.5GB", "1TB", "99999999999999999999", "9999999999999GB"})
        CHECK_THROWS_WITH(parse_shard_size(text), Contains("--shard-size"));
}

TEST_CASE("byte tokenizer: every byte has a stand-in of its own", "[unit]") {
    const auto tokens = byte_characters();
    CHECK(std::set<std::string>(tokens.begin(), tokens.end()).size() == 256);
    CHECK(tokens['A'] == "A");
    CHECK(tokens[' '] == "\u0120");
    CHECK(tokens[0] == "\u0100");
    CHECK(tokens[0xe9] == "\u00e9");
}
