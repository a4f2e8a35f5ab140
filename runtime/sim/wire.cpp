#include "runtime/sim/wire.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <functional>

namespace sy::runtime::sim {

StandIn::StandIn() {
    void* const address = mmap(nullptr, static_cast<std::size_t>(kBytes), PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (address == MAP_FAILED)
        throw IoError(concat("simulation: ", kBytes, " bytes of address space: ", std::strerror(errno)));
    data_ = static_cast<std::byte*>(address);
}

StandIn::~StandIn() {
    munmap(data_, static_cast<std::size_t>(kBytes));
}

std::span<std::byte> StandIn::first(index_t bytes) const {
    SY_REQUIRE(bytes <= kBytes, "simulation: a message of ", bytes, " bytes; it can have ", kBytes);
    return {data_, static_cast<std::size_t>(bytes)};
}

bool StandIn::contains(const void* address) const {
    const std::less<> is_before;
    return !is_before(address, data_) && is_before(address, data_ + kBytes);
}

Wire::Wire(comm::Communicator& inner, const comm::Topology& topology, const StandIn& stand_in, index_t factor)
    : inner_(inner), topology_(topology), stand_in_(stand_in), factor_(factor) {}

std::unique_ptr<comm::Request> Wire::send(std::span<const std::byte> bytes, int destination, int tag) {
    const index_t wide_bytes = static_cast<index_t>(bytes.size()) * factor_;
    if (cargo_ == Cargo::rows) {
        const bool in_node = topology_.node_of_rank[rank()] == topology_.node_of_rank[destination];
        row_bytes_[static_cast<std::size_t>(in_node ? Level::node : Level::network)] += wide_bytes;
    }
    return inner_.send(stands_in() ? stand_in_.first(wide_bytes) : bytes, destination, tag);
}

std::unique_ptr<comm::Request> Wire::receive(std::span<std::byte> bytes, int source, int tag) {
    const index_t wide_bytes = static_cast<index_t>(bytes.size()) * factor_;
    return inner_.receive(stands_in() ? stand_in_.first(wide_bytes) : bytes, source, tag);
}

}  // namespace sy::runtime::sim
