#pragma once

#include <string>

namespace sy::runtime {

/// A number for people: "46.70 G" and a unit behind the prefix. @param unit  may be empty
std::string with_prefix(double value, const std::string& unit);

}  // namespace sy::runtime
