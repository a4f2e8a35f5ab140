#pragma once

#include "kernels/core/exact_sum.hpp"
#include "kernels/cuda/launch.hpp"
#include "kernels/cuda/view.hpp"

/// Exact sums (kernels/core/exact_sum.hpp) that many threads of a GPU add to: the order does not show.
namespace sy::cuda {

/// Bits of a digit of ExactSum.
inline constexpr int kDigitBits = 40;

/// words += what one thread has added up. @param words  [4]
inline __device__ void add_exactly(std::int64_t* words, const ExactSum& own) {
    const std::array<std::int64_t, ExactSum::kNumWords> addend = own.words();
    for (std::size_t word = 0; word + 1 < ExactSum::kNumWords; ++word) {
        // Unsigned, as atomicAdd has it: two's complement is the same.
        if (addend[word] != 0)
            atomicAdd(reinterpret_cast<unsigned long long*>(words + word),
                      static_cast<unsigned long long>(addend[word]));
    }
    constexpr std::size_t kMarks = ExactSum::kNumWords - 1;
    if (addend[kMarks] != 0)
        atomicOr(reinterpret_cast<unsigned long long*>(words + kMarks),
                 static_cast<unsigned long long>(addend[kMarks]));
}

/// Brings the digits of sums back below their base, so that those of ranks can be added. @param words  [G, 4]
inline void carry_words(TensorRef words, const Context& context) {
    std::int64_t* const all = values<std::int64_t>(words);
    for_elements(context, words.rows(), [=] __device__(index_t g) {
        std::int64_t* const digits = all + g * static_cast<index_t>(ExactSum::kNumWords);
        for (int digit = 2; digit > 0; --digit) {
            const std::int64_t over = digits[digit] >> kDigitBits;  // rounds down, also below zero
            digits[digit - 1] += over;
            digits[digit] -= over * (std::int64_t{1} << kDigitBits);
        }
    });
}

}  // namespace sy::cuda
