#include "runtime/interchange/families/decoder.hpp"

namespace sy::runtime::hf {
namespace {

using model::PositionConfig;
using model::RopeScaling;

/// Constants of the stretching rules, which are fixed here (kernels/ops/rotary/rotary.hpp).
constexpr double kLowFrequency = 1.0;
constexpr double kHighFrequency = 4.0;
constexpr double kBetaFast = 32.0;
constexpr double kBetaSlow = 1.0;
constexpr double kMscale = 1.0;

/// What both spellings hold of the scaling; the old one says "type".
void write_scaling(const Config& config, Json::Object& keys) {
    const PositionConfig& position = config.model.position;
    if (position.rope_scaling == RopeScaling::none || position.rope_scaling == RopeScaling::ntk) return;
    keys.push_back({"factor", position.rope_factor});
    if (position.rope_scaling == RopeScaling::linear) return;
    keys.push_back({"original_max_position_embeddings", position.rope_original_len});
    if (position.rope_scaling == RopeScaling::llama3) {
        keys.push_back({"low_freq_factor", kLowFrequency});
        keys.push_back({"high_freq_factor", kHighFrequency});
        return;
    }
    keys.push_back({"beta_fast", kBetaFast});
    keys.push_back({"beta_slow", kBetaSlow});
    if (config.model.attention.kind == model::AttentionKind::latent) {
        keys.push_back({"mscale", kMscale});
        keys.push_back({"mscale_all_dim", kMscale});
    }
}

const char* scaling_name(RopeScaling scaling) {
    switch (scaling) {
        case RopeScaling::linear:
            return "linear";
        case RopeScaling::llama3:
            return "llama3";
        case RopeScaling::yarn:
            return "yarn";
        case RopeScaling::none:
        case RopeScaling::ntk:  // NTK by a fixed factor has no name there
            break;
    }
    return "default";
}

void read_scaling(ConfigKeys& keys, Config& config) {
    PositionConfig& position = config.model.position;
    const std::string old_name = keys.text("type", "default");
    const std::string name = keys.text("rope_type", old_name);
    if (name == "default") {
        keys.finish();
        return;
    }
    for (const RopeScaling scaling : {RopeScaling::linear, RopeScaling::llama3, RopeScaling::yarn})
        if (name == scaling_name(scaling)) position.rope_scaling = scaling;
    if (position.rope_scaling == RopeScaling::none) {
        keys.problem(concat("rope_type = ", name, " cannot be expressed here"));
        return;
    }
    position.rope_factor = keys.number("factor");
    if (position.rope_scaling != RopeScaling::linear)
        position.rope_original_len = keys.whole("original_max_position_embeddings");
    if (position.rope_scaling == RopeScaling::llama3) {
        keys.only("low_freq_factor", kLowFrequency);
        keys.only("high_freq_factor", kHighFrequency);
    } else if (position.rope_scaling == RopeScaling::yarn) {
        keys.only("beta_fast", kBetaFast);
        keys.only("beta_slow", kBetaSlow);
        keys.only("truncate", true);
        if (config.model.attention.kind == model::AttentionKind::latent) {
            if (keys.number("mscale", kMscale) != kMscale || keys.number("mscale_all_dim", 0.0) != kMscale)
                keys.problem("latent attention with yarn is expressed here with mscale = mscale_all_dim = 1");
        }
    }
    keys.finish();
}

}  // namespace

void write_rope(const Config& config, Json::Object& keys) {
    const PositionConfig& position = config.model.position;
    const std::string name = scaling_name(position.rope_scaling);
    Json::Object parameters{{"rope_type", name}, {"rope_theta", position.rope_theta}};
    write_scaling(config, parameters);
    if (name != "default") {
        Json::Object scaling{{"type", name}, {"rope_type", name}};
        write_scaling(config, scaling);
        keys.push_back({"rope_scaling", std::move(scaling)});
    }
    keys.push_back({"rope_theta", position.rope_theta});
    keys.push_back({"rope_parameters", std::move(parameters)});
}

void read_rope(ConfigKeys& keys, Config& config, double theta) {
    PositionConfig& position = config.model.position;
    position.rope_theta = keys.number("rope_theta", theta);
    const Json* const parameters = keys.object("rope_parameters");
    const Json* const scaling = keys.object("rope_scaling");
    if (parameters != nullptr) {
        ConfigKeys inside = keys.inside(*parameters);
        const double inner_theta = inside.number("rope_theta", position.rope_theta);
        if (keys.has("rope_theta") && inner_theta != position.rope_theta) {
            keys.problem(concat("rope_theta is ", position.rope_theta, ", in rope_parameters ", inner_theta));
        }
        position.rope_theta = inner_theta;
        if (inside.has("partial_rotary_factor"))
            position.rope_fraction = inside.number("partial_rotary_factor");
        read_scaling(inside, config);
    }
    if (scaling == nullptr) return;
    Config old = config;
    old.model.position.rope_scaling = RopeScaling::none;
    ConfigKeys inside = keys.inside(*scaling);
    read_scaling(inside, old);
    const PositionConfig& other = old.model.position;
    const bool same = other.rope_scaling == position.rope_scaling &&
                      other.rope_factor == position.rope_factor &&
                      other.rope_original_len == position.rope_original_len;
    if (parameters != nullptr && !same) keys.problem("rope_scaling and rope_parameters say different things");
    position = other;
}

}  // namespace sy::runtime::hf
