#pragma once

#include <cstdint>
#include <vector>

#include "tests/unit/model/tiny_model.hpp"

/// What whole tiny models are held to, whatever they are made of.
namespace sy::test {

inline constexpr index_t kSequences = 8;

struct History {
    std::vector<double> loss;
    std::vector<double> norm;
    std::vector<std::uint64_t> hash;
    index_t num_dropped = 0;
};

/// Some steps of AdamW on ranks that are threads.
History train(int ranks, int expert_parallel, NumericsMode numerics, const model::ModelConfig& config,
              const model::MoeConfig& moe, index_t steps);

/// The gradient of every parameter against central differences of the loss along it.
/// @param use  of the passes that are compared: train where the loss has parts that evaluation leaves out
/// @param tolerance  relative, of the slopes
/// @pre  the loss is smooth: no choice of experts that small changes could flip
void check_gradients(const model::ModelConfig& config, const model::MoeConfig& moe,
                     model::Use use = model::Use::evaluate, double tolerance = 0.005);

/// `steps` steps are bit-identical on 1, 2, 3, 4 and 8 ranks in reproducible mode, and the loss falls.
void check_layouts(const model::ModelConfig& config, const model::MoeConfig& moe, index_t steps);

/// Decoding token by token with the cache gives the loss of a whole pass.
void check_decoding(const model::ModelConfig& config, const model::MoeConfig& moe);

}  // namespace sy::test
