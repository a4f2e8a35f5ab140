#include "runtime/interchange/hf_family.hpp"

#include <algorithm>
#include <array>

#include "runtime/interchange/families/families.hpp"
#include "runtime/interchange/hf_settings.hpp"

namespace sy::runtime {
namespace {

/// In this order an exported model takes the first that expresses it.
const std::array kFamilies{
    hf::kLlama, hf::kMistral, hf::kMixtral, hf::kQwen3Moe,   hf::kOpt,        hf::kGpt2,     hf::kGptJ,
    hf::kBloom, hf::kGemma2,  hf::kGlm4Moe, hf::kDeepseekV3, hf::kDeepseekV2, hf::kQwen2Moe, hf::kOlmoe,
    hf::kDbrx,  hf::kT5,      hf::kSwitch,  hf::kBert,       hf::kGrok1,      hf::kGrok,
};

/// Settings as they would come back from the class.
Config read_back(const HfFamily& family, const Config& plain) {
    const Json keys = family.write_config(plain);
    std::vector<std::string> problems;
    ConfigKeys reader(keys, problems);
    Config config;
    family.read_config(reader, config);
    reader.finish();
    return config;
}

std::string family_names() {
    std::string names;
    for (const HfFamily& family : kFamilies) names += concat(names.empty() ? "" : ", ", family.name);
    return names;
}

}  // namespace

std::span<const HfFamily> hf_families() {
    return kFamilies;
}

const HfFamily& find_hf_family(const std::string& name) {
    const auto found =
        std::ranges::find_if(kFamilies, [&](const HfFamily& family) { return family.name == name; });
    if (found == kFamilies.end())
        throw ConfigError(concat("family '", name, "' is unknown; known: ", family_names()));
    return *found;
}

std::vector<std::string> hf_problems(const HfFamily& family, const Config& config) {
    const Config plain = without_inert_settings(config);
    std::vector<std::string> problems =
        differing_settings(plain, without_inert_settings(read_back(family, plain)));
    if (family.other_problems != nullptr) {
        for (std::string& problem : family.other_problems(plain)) problems.push_back(std::move(problem));
    }
    return problems;
}

const HfFamily& choose_hf_family(const Config& config) {
    const HfFamily* nearest = nullptr;
    std::vector<std::string> least;
    for (const HfFamily& family : kFamilies) {
        std::vector<std::string> problems = hf_problems(family, config);
        if (problems.empty()) return family;
        if (nearest != nullptr && problems.size() >= least.size()) continue;
        nearest = &family;
        least = std::move(problems);
    }
    std::vector<std::string> text{concat("export: no class of transformers computes what this model does; ",
                                         nearest->architecture, " is nearest, but there")};
    for (const std::string& problem : least) text.push_back("  " + problem);
    throw ConfigError(text);
}

std::vector<std::string> hf_notes(const Config& config) {
    std::vector<std::string> notes;
    const bool has_mixture = without_inert_settings(config).moe.layers != "none";
    if (has_mixture && config.moe.capacity_factor > 0.0) {
        notes.push_back(concat("moe.capacity_factor = ", config.moe.capacity_factor,
                               ": transformers drops no choice, so outputs differ where this model does"));
    }
    if (has_mixture && config.moe.router_dtype != DType::f32)
        notes.emplace_back("moe.router_dtype: transformers rounds the router's logits by rules of its own");
    if (has_mixture && config.moe.wire != model::WireFormat::f32)
        notes.emplace_back("moe.wire: transformers does not round rows on their way to experts");
    return notes;
}

Json hf_config_json(const HfFamily& family, const Config& config, const std::string& dtype) {
    Json::Object keys{{"architectures", Json::Array{std::string(family.architecture)}},
                      {"model_type", std::string(family.name)},
                      {"dtype", dtype},
                      {"torch_dtype", dtype},
                      {"use_cache", true},
                      {"bos_token_id", nullptr},
                      {"eos_token_id", nullptr},
                      {"pad_token_id", nullptr}};
    for (Json::Member& member : family.write_config(without_inert_settings(config)))
        keys.push_back(std::move(member));
    return keys;
}

HfConfig read_hf_config(const Json& config_json) {
    if (!config_json.is_object()) throw ConfigError("config.json is no JSON object");
    std::vector<std::string> problems;
    ConfigKeys keys(config_json, problems);
    const HfFamily& family = find_hf_family(keys.text("model_type", ""));
    HfConfig result{.family = &family, .config = {}};
    keys.ignore_usual();
    family.read_config(keys, result.config);
    keys.finish();
    if (problems.empty()) {
        for (const std::string& problem : model::model_problems(result.config.model, result.config.moe))
            problems.push_back(problem);
        if (family.other_problems != nullptr) {
            for (const std::string& problem : family.other_problems(result.config))
                problems.push_back(problem);
        }
    }
    if (!problems.empty()) throw ConfigError(problems);
    return result;
}

}  // namespace sy::runtime
