#include <algorithm>
#include <cstring>

#include "comm/axes.hpp"
#include "comm/check_offsets.hpp"
#include "comm/collectives.hpp"
#include "comm/ring.hpp"

namespace sy::comm {

PendingExchange::PendingExchange(Communicator& comm, std::vector<std::unique_ptr<Request>> requests,
                                 std::string doing)
    : comm_(&comm), requests_(std::move(requests)), doing_(std::move(doing)) {}

bool PendingExchange::test() {
    return std::all_of(requests_.begin(), requests_.end(),
                       [](const auto& request) { return request->test(); });
}

void PendingExchange::wait() {
    if (comm_ == nullptr) return;
    wait_all(*comm_, requests_, doing_);
    requests_.clear();
}

PendingExchange start_exchange_with_others(Communicator& comm, std::span<const std::byte> send,
                                           std::span<const index_t> send_offsets,
                                           std::span<std::byte> receive,
                                           std::span<const index_t> receive_offsets, int tag,
                                           std::string doing) {
    check_offsets(comm, send_offsets, send.size(), doing);
    check_offsets(comm, receive_offsets, receive.size(), doing);
    std::vector<std::unique_ptr<Request>> requests;
    // Receives first: what arrives has its place.
    for_ring(comm, [&](int source, int) {
        const std::span<std::byte> bytes = part(receive, group_of(receive_offsets, source));
        if (!bytes.empty()) requests.push_back(comm.receive(bytes, source, tag));
    });
    for_ring(comm, [&](int, int destination) {
        const std::span<const std::byte> bytes = part(send, group_of(send_offsets, destination));
        if (!bytes.empty()) requests.push_back(comm.send(bytes, destination, tag));
    });
    return PendingExchange(comm, std::move(requests), std::move(doing));
}

PendingExchange start_all_to_all_v(Communicator& comm, std::span<const std::byte> send,
                                   std::span<const index_t> send_offsets, std::span<std::byte> receive,
                                   std::span<const index_t> receive_offsets, int tag, std::string doing) {
    PendingExchange exchange =
        start_exchange_with_others(comm, send, send_offsets, receive, receive_offsets, tag, doing);
    const std::span<const std::byte> own = part(send, group_of(send_offsets, comm.rank()));
    const std::span<std::byte> target = part(receive, group_of(receive_offsets, comm.rank()));
    SY_REQUIRE(own.size() == target.size(), doing, ": own part is ", own.size(), " and ", target.size(),
               " bytes");
    if (!own.empty() && own.data() != target.data()) std::memcpy(target.data(), own.data(), own.size());
    return exchange;
}

}  // namespace sy::comm
