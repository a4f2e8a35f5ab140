#pragma once

#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"

namespace sy::model {

/// The scaling stops when no column's factor moved by this part of itself, or after so many rounds.
inline constexpr double kSinkhornTolerance = 1e-4;
inline constexpr int kSinkhornRounds = 100;

/// Column factors d of the balanced plan of exp(x): plan[t, e] = r[t] d[e] exp(x[t, e]) with rows that sum to 1 and,
/// to kSinkhornTolerance, columns that sum to T / E over the global batch. Rounds alternate between rows and columns,
/// from d = 1. When the rounds run out the factors are what they are: the rows are exact, the columns less even.
///
/// Entries of the plan lie in [0, 1] and a column's are added as multiples of 2^-36, so the factors are a function of
/// the global batch alone (up to 2^26 tokens). A column that adds up to less than 2^-36 counts as that much, factors
/// stay within 1e-60 .. 1e60, and a logit that is 87 below its row's highest counts as -infinity.
///
/// @param logits         [T, E] f32, this rank's rows x
/// @param global_tokens  T over all ranks
/// @return               [E] log d, the same on every rank
/// @par Collective over `world`
/// @par Cost      E 64-bit integers all-reduced and T * E multiply-adds a round; usually 5 to 30 rounds
/// @par Source    Clark et al., "Unified scaling laws for routed language models", arXiv:2202.01169, section 3 and its
///                appendix on S-BASE; Sinkhorn and Knopp (1967)
std::vector<double> sinkhorn_log_factors(ConstTensorRef logits, index_t global_tokens,
                                         comm::Communicator& world, const Context& context);

}  // namespace sy::model
