#pragma once

#include <string>

#include "model/parameters/parameters.hpp"

namespace sy::runtime {

/// Whether a name fits a pattern: * stands for any text, ? for one character.
bool matches(const std::string& pattern, const std::string& name);

/// Freezes every parameter whose name fits one of the patterns, which are joined by commas.
/// @throws ConfigError naming every pattern that fits no parameter, with what may have been meant; or when none would learn
void freeze_parameters(const std::string& patterns, model::Parameters& parameters);

}  // namespace sy::runtime
