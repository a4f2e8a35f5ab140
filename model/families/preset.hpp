#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/config.hpp"

/// Published models as data: one file a lineage, one function a model.
namespace sy::model {

/// A number of parameters as its authors gave it.
struct PublishedSize {
    double value = 0.0;  ///< 0: not published
    int digits = 0;      ///< significant ones that were given; 0: exact, what the published config.json makes
};

struct Preset {
    std::string name;
    std::string source;  ///< papers by arXiv number, and the config.json the fields are from
    ModelConfig model = {};
    MoeConfig moe = {};
    PublishedSize total = {};
    PublishedSize active = {};
    std::string beyond = {};        ///< what of the original a config cannot say; empty: nothing
    index_t beyond_parameters = 0;  ///< what that adds to the published total
};

/// All presets, by lineage and size. seq_len is the length of pre-training's sequences.
std::vector<Preset> presets();
std::optional<Preset> find_preset(const std::string& name);

/// The same model in small, on bytes: kinds, patterns and ratios stay (norms, wiring, positions, groups of queries,
/// gates, window layers, which layers are mixtures, shared experts, expert groups), widths and counts shrink until it
/// trains a step in milliseconds.
void scale_down(ModelConfig& model, MoeConfig& moe);

}  // namespace sy::model
