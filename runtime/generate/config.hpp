#pragma once

#include <cstdint>
#include <string>

#include "kernels/core/types.hpp"

/// The settings that generation owns.
namespace sy::runtime {

struct GenerateConfig {
    std::string prompt = "In the beginning ";
    std::string gap = "_";
    index_t tokens = 200;
    double temperature = 0.8;
    index_t top_k = 0;
    double top_p = 0.95;
    std::uint64_t seed = 1;
};

}  // namespace sy::runtime
