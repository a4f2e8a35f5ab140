#pragma once

#include <string>
#include <vector>

#include "kernels/core/context.hpp"
#include "model/config.hpp"
#include "runtime/json/json.hpp"
#include "runtime/train/optimizer.hpp"

/// The tiny models that are trained here and repeated in PyTorch.
namespace sy::test {

inline constexpr std::uint64_t kSeed = 11;
inline constexpr index_t kSequences = 6;     ///< of a micro-step, over all ranks
inline constexpr index_t kSteps = 3;         ///< that are run
inline constexpr index_t kPlannedSteps = 5;  ///< of the schedule, so that its decay shows

struct Variant {
    std::string name;
    model::ModelConfig model;
    model::MoeConfig moe;
    runtime::OptimizerConfig optimizer;
    NumericsMode numerics = NumericsMode::fast;
    index_t accumulation = 1;
    int ranks = 1;
    int expert_parallel = 1;

    /// Ids [sequences, S + 1] of these global sequences of a micro-step: a function of their number alone.
    std::vector<std::int32_t> tokens(index_t step, index_t micro_step, Range sequences) const;
    /// What an encoder, or an encoder and decoder, makes of those ids: masked tokens, or corrupted spans.
    struct Corrupted {
        std::vector<std::int32_t> ids;      ///< of the stack under the head
        std::vector<std::int32_t> targets;  ///< -1 where nothing is asked
        std::vector<std::int32_t> source;   ///< of the encoder that it reads
    };
    Corrupted corrupted(index_t step, index_t micro_step, Range sequences) const;
    /// Rows of a sequence under the head.
    index_t num_rows() const;
    /// Everything above, and all tokens, as the reference reads it.
    runtime::Json describe() const;
};

std::vector<Variant> oracle_variants();

}  // namespace sy::test
