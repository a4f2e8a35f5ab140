#pragma once

#include <algorithm>
#include <span>

#include "comm/add.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/types.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::comm {

/// sum[i] = addends[0][i] + addends[1][i] + ..., in this order. One of the addends may be `sum` itself.
template <class T>
void add_in_order(std::span<const T* const> addends, std::span<T> sum, const Context& context) {
    constexpr std::size_t kBlock = 256;
    cpu(context).team().for_ranges(static_cast<index_t>(sum.size()), 4096, [&](index_t begin, index_t end) {
        const auto last = static_cast<std::size_t>(end);
        for (auto first = static_cast<std::size_t>(begin); first < last; first += kBlock) {
            // In memory that nothing else points to, so that the compiler may use vectors.
            T total[kBlock];
            const std::size_t count = std::min(kBlock, last - first);
            std::copy_n(addends[0] + first, count, total);
            for (const T* const addend : addends.subspan(1)) {
                for (std::size_t i = 0; i < count; ++i) total[i] = add(total[i], addend[first + i]);
            }
            std::copy_n(total, count, sum.data() + first);
        }
    });
}

}  // namespace sy::comm
