#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/generate/results.hpp"
#include "runtime/tokenizer/tokenizer.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Prompts as tokens, and where a text ends.
struct GenerationWork {
    const Tokenizer& tokenizer;
    std::vector<std::vector<std::int32_t>> prompts;
    std::vector<std::string> stops;
};

/// What the steps of next tokens took on this rank.
struct DecodeCounts {
    index_t steps = 0;
    index_t launches =
        0;  ///< kernels, copies and graphs that the host started; 0 on a device that captures nothing
    index_t captured = 0;  ///< graphs
    index_t replays = 0;   ///< steps that started one of them
};

/// Continues all prompts. Every rank has generate.batch slots; a slot is given the next prompt as soon as it is free, and
/// only slots that hold an unfinished sequence are computed. What a prompt becomes depends on nothing else than itself,
/// the settings and its index; in numerics.mode = reproducible that includes the number of ranks.
/// @param writer  of rank 0, else null
/// @par Collective over the world
DecodeCounts serve(Session& session, const GenerationWork& work, ResultWriter* writer);

}  // namespace sy::runtime
