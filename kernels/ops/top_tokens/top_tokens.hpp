#pragma once

#include <cstdint>
#include <span>

#include "kernels/core/context.hpp"
#include "kernels/core/indexed.hpp"
#include "kernels/core/tensor_ref.hpp"

/// Experts that choose tokens: one rank's part of the search for the highest scores of every expert over all ranks, and
/// the choice itself. T tokens, E experts. Scores [T, E] are f32, compared by keys: integers in their order (0 and -0
/// equal).
/// All functions throw ShapeError when sides do not fit.
/// @par Source  Zhou et al., "Mixture-of-experts with expert choice routing", arXiv:2202.09368, section 3
namespace sy::ops {

inline constexpr int kKeyBits = 32;
inline constexpr int kKeyDigitBits = 8;
inline constexpr index_t kKeyDigits = index_t{1} << kKeyDigitBits;

/// Where an expert's choice ends: it takes every key above `key` and the first `ties` tokens that have it. While it is
/// searched for, `key` has the upper digits alone.
struct TokenThreshold {
    std::uint64_t key = 0;
    index_t ties = 0;
};

/// counts[e, d] = tokens whose key's upper digits are thresholds[e].key and whose next one, `shift` bits from its end,
/// is d. @param counts  [E, 256] i64, without gaps; is overwritten
void count_key_digits(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds, int shift,
                      TensorRef counts, const Context& context);

/// taken[t, e] = 1 where expert e takes token t, else 0; of equal keys the lower tokens.
/// @param earlier  [E] tokens of lower ranks that have the threshold's key
/// @param taken    [T, E] u8, is overwritten
void take_top_tokens(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                     PerExpertSpan<const index_t> earlier, TensorRef taken, const Context& context);

/// The experts that take each token, by descending key, equal ones by number; -1 after the last.
/// @param taken   [T, E] u8
/// @param expert  [T, K] i32, K at least the most experts of a token; is overwritten
void list_takers(ConstTensorRef scores, ConstTensorRef taken, TensorRef expert, const Context& context);

namespace ref {
/// The choice of the `count` highest scores of each expert among all tokens, [T, E].
void take_top_tokens(MatrixView<const float> scores, index_t count, MatrixView<std::uint8_t> taken);
}  // namespace ref

}  // namespace sy::ops
