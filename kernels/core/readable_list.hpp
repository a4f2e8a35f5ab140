#pragma once

#include "kernels/core/host_view.hpp"
#include "kernels/core/list.hpp"

namespace sy {

/// A list as bodies of the CPU read it: the host's own, or one in memory of a device that the host works in.
template <class T>
std::span<const T> host_values(const List<T>& list) {
    return list.is_of_host() ? list.of_host() : host_values<const T>(list.on_device());
}

}  // namespace sy
