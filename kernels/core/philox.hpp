#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include <Random123/philox.h>

#include "kernels/core/host_device.hpp"

namespace sy {

/// What a random number is for. Checkpoints depend on the values: new ones are appended.
enum class RandomPurpose : std::uint32_t {
    initialise = 1,
    data_order = 2,
    router_jitter = 3,
    dropout = 4,
    sample = 5,
    test = 6,
    attention_dropout = 7,
    protected_sequence = 20,
    expert_dropout = 21,
    router_action = 22,
    router_noise = 23,
    second_choice = 24,
    hash_table = 25,
    corruption = 30
};

/// Key of a random stream. A number depends on (key, counter) only: never on rank, thread or order of calls.
struct RandomKey {
    std::uint64_t seed = 0;
    std::uint64_t step = 0;
    std::uint32_t layer = 0;
    RandomPurpose purpose = RandomPurpose::test;
};

/// What the generator is fed for element `counter` of a stream: a 128-bit counter and a 64-bit key.
struct PhiloxInput {
    std::array<std::uint32_t, 4> counter;
    std::array<std::uint32_t, 2> key;
};

/// The seed keys the generator, the rest is counted; only words 0 and 1 depend on `counter`.
/// Steps above 2^40 or layers above 2^16 would collide; neither is reachable.
SY_HOST_DEVICE inline PhiloxInput philox_input(const RandomKey& key, std::uint64_t counter) {
    const std::uint32_t tag = (key.layer << 8) ^ static_cast<std::uint32_t>(key.purpose);
    return {{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
             static_cast<std::uint32_t>(key.step), tag ^ (static_cast<std::uint32_t>(key.step >> 32) << 24)},
            {static_cast<std::uint32_t>(key.seed), static_cast<std::uint32_t>(key.seed >> 32)}};
}

/// Four independent 32-bit words for element `counter` of the stream (Philox4x32-10).
/// @par Source  Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011
SY_HOST_DEVICE inline std::array<std::uint32_t, 4> philox(const RandomKey& key, std::uint64_t counter) {
    const PhiloxInput in = philox_input(key, counter);
    const r123::Philox4x32::ctr_type out = r123::Philox4x32()(
        {{in.counter[0], in.counter[1], in.counter[2], in.counter[3]}}, {{in.key[0], in.key[1]}});
    return {out[0], out[1], out[2], out[3]};
}

/// Uniform in (0, 1): the middle of one of 2^23 equal cells, so never 0 or 1. (The middles of 2^24 cells need 25 bits:
/// the last would round to 1.)
SY_HOST_DEVICE inline float uniform_from(std::uint32_t word) {
    return (static_cast<float>(word >> 9) + 0.5F) * 0x1p-23F;
}

/// Uniform in (0, 1) for element `counter` of the stream; four neighbouring counters share one evaluation.
SY_HOST_DEVICE inline float uniform(const RandomKey& key, std::uint64_t counter) {
    return uniform_from(philox(key, counter / 4)[counter % 4]);
}

/// Standard Gumbel, -log(-log u) of uniform_from(word).
SY_HOST_DEVICE inline double gumbel_from(std::uint32_t word) {
    return -std::log(-std::log(static_cast<double>(uniform_from(word))));
}

/// Standard normal from two words (Box-Muller in double, rounded once).
SY_HOST_DEVICE inline float normal_from(std::uint32_t radius_word, std::uint32_t angle_word) {
    const double radius_uniform = (static_cast<double>(radius_word) + 0.5) * 0x1p-32;
    const double angle_uniform = (static_cast<double>(angle_word) + 0.5) * 0x1p-32;
    constexpr double kTwoPi = 6.283185307179586476925;
    return static_cast<float>(std::sqrt(-2.0 * std::log(radius_uniform)) * std::cos(kTwoPi * angle_uniform));
}

/// Standard normal for element `counter` of the stream; two neighbouring counters share one evaluation.
SY_HOST_DEVICE inline float normal(const RandomKey& key, std::uint64_t counter) {
    const std::array<std::uint32_t, 4> words = philox(key, counter / 2);
    const std::size_t pair = static_cast<std::size_t>(counter % 2) * 2;
    return normal_from(words[pair], words[pair + 1]);
}

}  // namespace sy
