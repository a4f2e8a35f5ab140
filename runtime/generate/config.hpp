#pragma once

#include <cstdint>
#include <string>

#include "kernels/core/types.hpp"

/// The settings that generation owns.
namespace sy::runtime {

enum class GenerateOutput { text, jsonl };

struct GenerateConfig {
    std::string prompt = "In the beginning ";
    std::string prompts;  ///< a file of them; empty: prompt alone
    std::string gap = "_";
    index_t tokens = 200;
    index_t batch = 8;  ///< sequences that a rank works on at once
    double temperature = 0.8;
    index_t top_k = 0;
    double top_p = 0.95;
    double min_p = 0.0;
    double repetition_penalty = 1.0;
    std::uint64_t seed = 1;
    std::string stop;  ///< as stop_strings reads it
    GenerateOutput output = GenerateOutput::text;
    bool prompt_logprobs = false;
};

}  // namespace sy::runtime
