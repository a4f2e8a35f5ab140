#pragma once

#include <span>
#include <vector>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"

namespace sy::test {

/// All elements of what a device holds, once what is queued has been done.
template <class T>
std::vector<T> read_values(ConstTensorRef ref, const Context& context) {
    const HostValues values(HostRead::snapshot, {ref}, context);
    const std::span<const T> found = host_values<const T>(values[0]);
    return {found.begin(), found.end()};
}

}  // namespace sy::test
