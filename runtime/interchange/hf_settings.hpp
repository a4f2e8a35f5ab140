#pragma once

#include <string>
#include <vector>

#include "runtime/config/config.hpp"

namespace sy::runtime {

/// The same model with settings that decide nothing at their defaults, and with one spelling for each value: widths that
/// follow from others are written out, patterns of layers are lists. Two configs that are equal now give the same outputs
/// for the same weights, but for what dropping choices changes.
Config without_inert_settings(const Config& config);

/// Settings of two models that differ and decide outputs: "attention.softcap = 50 would be read as 0".
/// Both have no inert settings.
std::vector<std::string> differing_settings(const Config& wanted, const Config& read);

/// A pattern of layers, as short as it can be said.
std::string short_pattern(const std::vector<bool>& layers);

}  // namespace sy::runtime
