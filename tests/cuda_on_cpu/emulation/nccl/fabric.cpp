#include "tests/cuda_on_cpu/emulation/nccl/fabric.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <random>
#include <set>
#include <string>

namespace sy::emulation {
namespace {

constexpr std::uint64_t kMagic = 0x6c63636e2d7973;  // "sy-nccl"

/// Files that this process holds for others to find.
struct Held {
    std::mutex mutex;
    std::set<std::pair<std::uint64_t, int>> files;  ///< nonce and descriptor
};

Held& held() {
    static auto& all = *new Held;
    return all;
}

void let_go(const Fabric::Id& id) {
    if (id.process != getpid()) return;
    const std::lock_guard lock(held().mutex);
    if (held().files.erase({id.nonce, id.file}) > 0) close(id.file);
}

}  // namespace

Fabric::Id Fabric::create() {
    std::random_device random;
    Id id;
    id.magic = kMagic;
    id.nonce = std::uint64_t(random()) << 32 | random();
    id.process = getpid();
    id.file = memfd_create("nccl-emulation", MFD_CLOEXEC);
    const std::lock_guard lock(held().mutex);
    if (id.file >= 0) held().files.insert({id.nonce, id.file});
    return id;
}

Fabric::Fabric(const Id& id, int rank, int num_ranks) : id_(id), rank_(rank), num_ranks_(num_ranks) {
    if (id.magic != kMagic || id.file < 0) {
        problem_ = "the unique id is none that ncclGetUniqueId has made";
        return;
    }
    const std::string path = "/proc/" + std::to_string(id.process) + "/fd/" + std::to_string(id.file);
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    const auto num_rings = std::size_t(num_ranks) * std::size_t(num_ranks);
    mapped_bytes_ = sizeof(Ring) * (1 + num_rings);
    void* memory = MAP_FAILED;
    if (file >= 0 && ftruncate(file, off_t(mapped_bytes_)) == 0)
        memory = mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    if (memory == MAP_FAILED) {
        problem_ = "the process that made the unique id is gone, or on another machine";
        return;
    }
    static_assert(sizeof(Shared) <= sizeof(Ring));
    shared_ = static_cast<Shared*>(memory);
    rings_ = static_cast<Ring*>(memory) + 1;
    int nobody = 0;
    if (!shared_->num_ranks.compare_exchange_strong(nobody, num_ranks) && nobody != num_ranks)
        problem_ = "ranks do not agree on their number";
}

Fabric::~Fabric() {
    if (shared_ != nullptr) munmap(shared_, mapped_bytes_);
}

const char* Fabric::problem() const {
    return problem_;
}

void Fabric::join(int device) {
    int nobody = 0;
    if (!shared_->device[rank_].compare_exchange_strong(nobody, device + 1))
        problem_ = "two ranks have the same number";
    ++shared_->num_joined;
}

bool Fabric::all_have_joined() {
    if (shared_->num_joined != num_ranks_) return false;
    let_go(id_);
    return true;
}

bool Fabric::shares_a_device() const {
    std::set<int> devices;
    for (int rank = 0; rank < num_ranks_; ++rank) devices.insert(shared_->device[rank]);
    return int(devices.size()) < num_ranks_;
}

Fabric::Ring& Fabric::ring(int source, int destination) const {
    return rings_[source * num_ranks_ + destination];
}

bool Fabric::has_room(int destination) const {
    const Ring& to = ring(rank_, destination);
    return to.num_written.load(std::memory_order_relaxed) - to.num_read.load(std::memory_order_acquire) <
           kRingBytes;
}

bool Fabric::has_bytes(int source) const {
    const Ring& from = ring(source, rank_);
    return from.num_written.load(std::memory_order_acquire) != from.num_read.load(std::memory_order_relaxed);
}

std::size_t Fabric::put(int destination, const char* bytes, std::size_t count) {
    Ring& to = ring(rank_, destination);
    const std::uint64_t written = to.num_written.load(std::memory_order_relaxed);
    const std::size_t room = kRingBytes - std::size_t(written - to.num_read.load(std::memory_order_acquire));
    count = std::min(count, room);
    for (std::size_t done = 0; done < count;) {
        const std::size_t at = std::size_t(written + done) % kRingBytes;
        const std::size_t part = std::min(count - done, kRingBytes - at);
        std::memcpy(to.bytes + at, bytes + done, part);
        done += part;
    }
    to.num_written.store(written + count, std::memory_order_release);
    return count;
}

std::size_t Fabric::take(int source, char* bytes, std::size_t count) {
    Ring& from = ring(source, rank_);
    const std::uint64_t read = from.num_read.load(std::memory_order_relaxed);
    count = std::min(count, std::size_t(from.num_written.load(std::memory_order_acquire) - read));
    for (std::size_t done = 0; done < count;) {
        const std::size_t at = std::size_t(read + done) % kRingBytes;
        const std::size_t part = std::min(count - done, kRingBytes - at);
        std::memcpy(bytes + done, from.bytes + at, part);
        done += part;
    }
    from.num_read.store(read + count, std::memory_order_release);
    return count;
}

void Fabric::offer(std::uint64_t round, const Offer& mine) {
    Offered& place = shared_->offered[rank_][round % 2];
    place.offer = mine;
    place.round.store(round, std::memory_order_release);
}

bool Fabric::has_offer(std::uint64_t round, int rank) const {
    return shared_->offered[rank][round % 2].round.load(std::memory_order_acquire) == round;
}

Fabric::Offer Fabric::offer_of(std::uint64_t round, int rank) const {
    return shared_->offered[rank][round % 2].offer;
}

void Fabric::fail() {
    shared_->has_failed = 1;
}

bool Fabric::has_failed() const {
    return shared_ != nullptr && shared_->has_failed != 0;
}

}  // namespace sy::emulation
