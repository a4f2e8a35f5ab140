#include "runtime/interchange/gguf/model.hpp"

#include <algorithm>
#include <array>

#include "runtime/interchange/gguf/architecture.hpp"
#include "runtime/interchange/gguf/requirements.hpp"

namespace sy::runtime::gguf {
namespace {

/// The settings of an export, so that an import gives the same ones: of the model and its text alone.
constexpr const char* kSettingsKey = "switchyard.settings";
constexpr std::array<std::string_view, 6> kSections = {"[model]", "[attention]", "[position]",
                                                       "[moe]",   "[balance]",   "[data]"};

std::string settings_text(const Config& config, Output output) {
    Config shown;
    shown.model = config.model;
    shown.model.mtp_depth = 0;
    if (output == Output::hidden_states) {
        // The head that an import begins with has no values of its own.
        shown.model.tied_head = true;
        shown.model.head_bias = false;
        shown.model.head_transform = false;
    }
    shown.moe = config.moe;
    const std::string all = dump(shown);
    std::string text;
    bool wanted = false;
    for (std::size_t begin = 0; begin < all.size();) {
        const std::size_t end = std::min(all.find('\n', begin), all.size());
        const std::string line = all.substr(begin, end - begin);
        if (line.starts_with('[')) wanted = std::ranges::find(kSections, line) != kSections.end();
        if (wanted) text += line + "\n";
        begin = end + 1;
    }
    return text;
}

/// Whether predicting needs the tensor or state, as far as the graph goes: modules of multi-token prediction stay behind.
bool is_exported(const std::string& ours, Output output) {
    return !ours.starts_with("mtp.") && (output == Output::logits || !ours.starts_with("head."));
}

const Architecture& find_architecture(std::string_view name) {
    const auto found = std::ranges::find(architectures(), name, &Architecture::name);
    if (found == architectures().end()) {
        std::string known;
        for (const Architecture& architecture : architectures())
            known += concat(known.empty() ? "" : ", ", architecture.name);
        throw ConfigError(concat("GGUF: the architecture '", name, "' is not known here; known are ", known));
    }
    return *found;
}

std::vector<Key> model_keys(const Config& config, const Architecture& architecture) {
    KeyList keys(architecture.name);
    architecture.add_keys(config, keys);
    return keys.take();
}

/// Values of different types that say the same.
bool same_value(const Value& a, const Value& b) {
    if (a == b) return true;
    const auto number = [](const Value& value) {
        return std::visit(
            [](const auto& held) -> double {
                if constexpr (std::is_arithmetic_v<std::decay_t<decltype(held)>>)
                    return static_cast<double>(held);
                return std::numeric_limits<double>::quiet_NaN();
            },
            value);
    };
    return number(a) == number(b);
}

/// What later loops run over is bounded, whatever a file says.
std::vector<std::string> size_problems(const model::ModelConfig& model) {
    constexpr index_t kMost = 1 << 16;
    std::vector<std::string> problems;
    if (model.layers > kMost) problems.push_back(concat("block_count: ", model.layers, " layers"));
    if (model.heads > kMost) problems.push_back(concat("attention.head_count: ", model.heads, " heads"));
    return problems;
}

/// Every key of the architecture has to be one that these settings give, with that value.
void check_keys(const Header& header, const std::string& architecture, const std::vector<Key>& expected) {
    std::string problems;
    for (const Key& key : header.keys) {
        if (!key.name.starts_with(architecture + ".")) continue;
        const auto found = std::ranges::find(expected, key.name, &Key::name);
        if (found == expected.end()) {
            problems += concat("\n", key.name, ": no setting here says this");
        } else if (!same_value(found->value, key.value)) {
            problems += concat("\n", key.name, ": no settings here give this value beside the other keys");
        }
    }
    if (!problems.empty()) throw IoError("GGUF cannot be imported:" + problems);
}

}  // namespace

std::span<const Architecture> architectures() {
    static const std::array kAll{kLlama,   kQwen3Moe, kOlmoe, kQwen2Moe, kDeepseek2, kDbrx, kGrok,
                                 kGlm4Moe, kGemma2,   kGpt2,  kBloom,    kT5,        kBert};
    return kAll;
}

std::string choose_architecture(const Config& config, const std::string& architecture) {
    std::string_view nearest;
    std::vector<std::string> fewest;
    for (const Architecture& candidate : architectures()) {
        if (!architecture.empty() && &candidate != &find_architecture(architecture)) continue;
        std::vector<std::string> problems = candidate.problems(config);
        if (problems.empty()) return std::string(candidate.name);
        if (nearest.empty() || problems.size() < fewest.size()) {
            nearest = candidate.name;
            fewest = std::move(problems);
        }
    }
    fewest.insert(
        fewest.begin(),
        architecture.empty()
            ? concat("no architecture of llama.cpp computes this model; the nearest one, ", nearest, ", has")
            : concat("llama.cpp's ", nearest, " does not compute this model; it has"));
    throw ConfigError(fewest);
}

GgufModel describe(const Config& config, const std::string& architecture,
                   const std::map<std::string, Shape>& ours,
                   const std::map<std::string, index_t>& router_state) {
    const Architecture& found = find_architecture(architecture);
    std::map<std::string, Shape> exported;
    std::map<std::string, index_t> state;
    for (const auto& entry : ours)
        if (is_exported(entry.first, found.output)) exported.insert(entry);
    for (const auto& entry : router_state)
        if (is_exported(entry.first, found.output)) state.insert(entry);
    ModelBuilder builder(exported);
    found.add_tensors(config, builder);
    GgufModel model{architecture, {{"general.architecture", architecture}}, builder.take()};
    std::string problems;
    for (const std::string& problem : layout_problems(model.model, exported, state))
        problems += "\n" + problem;
    SY_REQUIRE(problems.empty(), "GGUF: ", architecture, " does not describe this model:", problems);
    for (Key& key : model_keys(config, found)) model.keys.push_back(std::move(key));
    model.keys.push_back({kSettingsKey, settings_text(config, found.output)});
    return model;
}

std::vector<std::string> export_notes(const Config& config) {
    std::vector<std::string> notes;
    const model::MoeConfig& moe = config.moe;
    if (config.model.mtp_depth > 0)
        notes.emplace_back(
            "the modules of multi-token prediction are left out: predicting does not need them");
    if (config.model.architecture == model::Architecture::encoder) {
        notes.emplace_back(
            "the head, which predicts masked tokens, is left out: llama.cpp's graph of an encoder ends with "
            "hidden states");
        if (config.model.activation == model::Activation::gelu)
            notes.emplace_back(
                "llama.cpp computes GELU with tanh in this graph, the model has the exact one: up to 5e-4 "
                "less "
                "or more for each value");
    }
    if (!has_mixture(config)) return notes;
    if (moe.capacity_factor > 0.0 || moe.eval_capacity_factor > 0.0 || moe.device_capacity > 0.0)
        notes.emplace_back("llama.cpp has no capacity: choices that were dropped in training are kept there");
    if (moe.router_dtype != DType::f32)
        notes.emplace_back("llama.cpp computes the router in float32, the model did not");
    if (moe.wire != model::WireFormat::f32)
        notes.emplace_back("moe.wire: llama.cpp does not round rows on their way to experts");
    return notes;
}

std::string architecture_of(const Header& header) {
    const Value* const named = header.find("general.architecture");
    const auto* const name = named != nullptr ? std::get_if<std::string>(named) : nullptr;
    if (name == nullptr) throw IoError("GGUF: general.architecture is missing");
    return *name;
}

Config read_settings(const Header& header) {
    const std::string name = architecture_of(header);
    const Architecture& architecture = find_architecture(name);
    Config config;
    const Value* const settings = header.find(kSettingsKey);
    if (const auto* const text = settings != nullptr ? std::get_if<std::string>(settings) : nullptr) {
        config = parse_config(*text, kSettingsKey);
    } else {
        architecture.read_settings(KeyReader(header, name), config);
    }
    std::vector<std::string> problems = size_problems(config.model);
    if (!problems.empty()) throw ConfigError(problems);
    problems = architecture.problems(config);
    for (std::string& problem : model::model_problems(config.model, config.moe))
        problems.push_back(std::move(problem));
    if (!problems.empty()) throw ConfigError(problems);
    check_keys(header, name, model_keys(config, architecture));
    return config;
}

}  // namespace sy::runtime::gguf
