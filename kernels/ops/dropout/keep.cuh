#pragma once

#include <cuda_runtime.h>

#include <array>

#include "kernels/core/philox.hpp"
#include "kernels/core/types.hpp"
#include "kernels/ops/dropout/keep_rule.hpp"

namespace sy::ops::on_gpu {

/// 0 or rule.factor for an element of a stream.
inline __device__ float keep_factor(const detail::KeepRule& rule, const RandomKey& key, index_t element) {
    const auto counter = static_cast<std::uint64_t>(element);
    const std::array<std::uint32_t, 4> words = philox(key, counter / 4);
    // Chosen without an index that only memory could follow.
    const std::uint32_t first = counter % 2 == 0 ? words[0] : words[1];
    const std::uint32_t second = counter % 2 == 0 ? words[2] : words[3];
    return (counter % 4 < 2 ? first : second) >> 9 < rule.threshold ? 0.0F : rule.factor;
}

}  // namespace sy::ops::on_gpu
