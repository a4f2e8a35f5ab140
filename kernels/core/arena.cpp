#include "kernels/core/arena.hpp"

#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace sy {
namespace {

constexpr index_t kHugePage = index_t{2} << 20;
constexpr index_t kSmallest = 256;

/// Rounds up to 4, 5, 6 or 7 quarters of a power of two.
index_t size_class(index_t bytes) {
    if (bytes <= kSmallest) return kSmallest;
    const auto power = static_cast<index_t>(std::bit_floor(static_cast<std::uint64_t>(bytes - 1)));
    return round_up(bytes, power / 4 < 64 ? 64 : power / 4);
}

}  // namespace

Buffer::Buffer(Buffer&& other) noexcept
    : arena_(std::exchange(other.arena_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    if (this != &other) {
        if (arena_ != nullptr) arena_->release(data_, bytes_);
        arena_ = std::exchange(other.arena_, nullptr);
        data_ = std::exchange(other.data_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

Buffer::~Buffer() {
    if (arena_ != nullptr) arena_->release(data_, bytes_);
}

Arena::Arena(index_t slab_bytes) : slab_bytes_(round_up(slab_bytes, kHugePage)) {}

Arena::Arena(index_t slab_bytes, std::function<std::byte*(index_t)> map_slab)
    : slab_bytes_(slab_bytes), map_slab_(std::move(map_slab)) {}

Arena::~Arena() {
    if (map_slab_) return;
    for (const Slab& slab : slabs_) munmap(slab.data, static_cast<std::size_t>(slab.bytes));
}

Buffer Arena::allocate(index_t bytes) {
    SY_REQUIRE(bytes >= 0, "arena: ", bytes, " bytes requested");
    if (bytes == 0) return {};
    const index_t rounded = size_class(bytes);
    std::vector<std::byte*>& list = free_[rounded];
    std::byte* data = nullptr;
    if (!list.empty()) {
        data = list.back();
        list.pop_back();
    } else {
        // Room for the return is made here, so that release() cannot throw.
        data = carve(rounded);
    }
    list.reserve(list.size() + 64);
    used_bytes_ += rounded;
    if (used_bytes_ > peak_bytes_) peak_bytes_ = used_bytes_;
    return Buffer(this, data, bytes);
}

void Arena::release(std::byte* data, index_t bytes) noexcept {
    const index_t rounded = size_class(bytes);
    free_[rounded].push_back(data);
    used_bytes_ -= rounded;
}

std::byte* Arena::carve(index_t bytes) {
    if (bytes >= slab_bytes_ / 2) return new_slab(bytes).data;
    if (bytes > fresh_bytes_) {
        const Slab slab = new_slab(slab_bytes_);
        fresh_ = slab.data;
        fresh_bytes_ = slab.bytes;
    }
    std::byte* data = fresh_;
    fresh_ += bytes;
    fresh_bytes_ -= bytes;
    return data;
}

Arena::Slab Arena::new_slab(index_t bytes) {
    slabs_.reserve(slabs_.size() + 1);
    slabs_.push_back(map_slab_ ? Slab{map_slab_(bytes), bytes} : map_slab(bytes));
    reserved_bytes_ += slabs_.back().bytes;
    return slabs_.back();
}

Arena::Slab Arena::map_slab(index_t bytes) const {
    // One huge page more than needed, so that the part in use starts on a huge page.
    const index_t wanted = round_up(bytes, kHugePage);
    void* raw = mmap(nullptr, static_cast<std::size_t>(wanted + kHugePage), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) {
        throw Error(concat("arena: the system refused ", wanted, " bytes with ", used_bytes_, " in use and ",
                           reserved_bytes_, " reserved: ", std::strerror(errno)));
    }
    const auto address = reinterpret_cast<std::uintptr_t>(raw);
    const auto page = static_cast<std::uintptr_t>(kHugePage);
    const std::uintptr_t aligned = (address + page - 1) / page * page;
    if (aligned > address) munmap(raw, aligned - address);
    const std::uintptr_t tail = aligned + static_cast<std::uintptr_t>(wanted);
    const std::uintptr_t end = address + static_cast<std::uintptr_t>(wanted + kHugePage);
    if (end > tail) munmap(reinterpret_cast<void*>(tail), end - tail);
    auto* data = reinterpret_cast<std::byte*>(aligned);
    // Advice only: without huge pages the memory is slower to touch, not wrong.
    madvise(data, static_cast<std::size_t>(wanted), MADV_HUGEPAGE);
    for (index_t offset = 0; offset < wanted; offset += 4096) data[offset] = std::byte{0};
    return {data, wanted};
}

}  // namespace sy
