#include "model/config.hpp"

#include <algorithm>
#include <sstream>

namespace sy::model {
namespace {

/// A whole number or -1.
index_t parse_number(const std::string& text) {
    if (text.empty() || text.size() > 9 ||
        !std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        return -1;
    }
    return std::stoll(text);
}

}  // namespace

std::vector<bool> layer_pattern(const std::string& key, const std::string& pattern, index_t num_layers) {
    std::vector<bool> result(static_cast<std::size_t>(num_layers), pattern == "all");
    if (pattern == "all" || pattern == "none") return result;
    if (pattern.starts_with("every:")) {
        const index_t period = parse_number(pattern.substr(6));
        if (period < 1)
            throw ConfigError(concat(key, " = ", pattern, ": every:N needs a whole number N >= 1"));
        for (index_t layer = period - 1; layer < num_layers; layer += period)
            result[static_cast<std::size_t>(layer)] = true;
        return result;
    }
    if (pattern.starts_with("from:")) {
        const index_t first = parse_number(pattern.substr(5));
        if (first < 0 || first >= num_layers)
            throw ConfigError(concat(key, " = ", pattern, ": from:N needs a layer 0 to ", num_layers - 1));
        std::fill(result.begin() + first, result.end(), true);
        return result;
    }
    std::istringstream list(pattern);
    for (std::string item; std::getline(list, item, ',');) {
        const index_t layer = parse_number(item);
        if (layer < 0 || layer >= num_layers) {
            throw ConfigError(concat(key, " = ", pattern, ": '", item, "' is not a layer 0 to ",
                                     num_layers - 1, "; use all, none, every:N, from:N or a list of layers"));
        }
        result[static_cast<std::size_t>(layer)] = true;
    }
    return result;
}

std::vector<bool> moe_layers(const MoeConfig& moe, index_t num_layers) {
    return layer_pattern("moe.layers", moe.layers, num_layers);
}

std::vector<bool> moe_blocks(const MoeConfig& moe, const ModelConfig& model) {
    std::vector<bool> blocks = moe_layers(moe, model.layers);
    blocks.insert(blocks.end(), static_cast<std::size_t>(model.mtp_depth), blocks.back());
    if (model.architecture == Architecture::encoder_decoder) {
        const std::vector<bool> encoder = moe_layers(moe, model.num_encoder_layers());
        blocks.insert(blocks.end(), encoder.begin(), encoder.end());
    }
    return blocks;
}

}  // namespace sy::model
