#pragma once

#include <string>
#include <vector>

#include "comm/collectives.hpp"

namespace sy::runtime {

/// What all ranks have, in rank order, on rank 0; nothing on others. T travels as bytes.
/// @param tag  as comm::start_all_to_all_v
/// @par Collective
template <class T>
std::vector<T> gather_on_rank_0(comm::Communicator& world, std::span<const T> mine, int tag,
                                const std::string& doing) {
    constexpr auto kBytes = static_cast<index_t>(sizeof(T));
    const auto count = static_cast<index_t>(mine.size());
    const std::vector<index_t> counts = comm::all_gather(world, std::span<const index_t>(&count, 1));
    std::vector<index_t> send{0};
    std::vector<index_t> receive{0};
    for (const index_t theirs : counts) {
        const bool to_first = send.size() == 1;
        send.push_back(send.back() + (to_first ? count * kBytes : 0));
        receive.push_back(receive.back() + (world.rank() == 0 ? theirs * kBytes : 0));
    }
    std::vector<T> all(static_cast<std::size_t>(receive.back() / kBytes));
    comm::start_all_to_all_v(world, std::as_bytes(mine), send, std::as_writable_bytes(std::span(all)),
                             receive, tag, doing)
        .wait();
    return all;
}

}  // namespace sy::runtime
