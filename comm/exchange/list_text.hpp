#pragma once

#include <algorithm>
#include <span>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::comm {

/// "name [1 2 3 ...]", the first sixteen.
template <class T>
std::string list(const char* name, std::span<const T> values) {
    std::string text = concat(name, " [");
    for (std::size_t i = 0; i < std::min<std::size_t>(values.size(), 16); ++i)
        text += concat(i == 0 ? "" : " ", values[i]);
    return text + concat(values.size() > 16 ? " ...]" : "]");
}

}  // namespace sy::comm
