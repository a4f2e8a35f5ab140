#pragma once

#include <algorithm>

#include "comm/communicator.hpp"

namespace sy::comm {

/// Offsets must part exactly the values there are, or some would be left out without a word.
inline void check_offsets(const Communicator& comm, std::span<const index_t> offsets, std::size_t num_values,
                          std::string_view doing) {
    SY_REQUIRE(static_cast<int>(offsets.size()) == comm.size() + 1 && offsets.front() == 0 &&
                   std::is_sorted(offsets.begin(), offsets.end()) &&
                   offsets.back() == static_cast<index_t>(num_values),
               doing, ": ", offsets.size(), " offsets from ", offsets.empty() ? 0 : offsets.front(), " to ",
               offsets.empty() ? 0 : offsets.back(), " for ", num_values, " values on ", comm.size(),
               " ranks");
}

}  // namespace sy::comm
