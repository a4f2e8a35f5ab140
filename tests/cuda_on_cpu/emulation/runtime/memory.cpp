#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

namespace sy::emulation {
namespace {

constexpr std::size_t kReservedBytes = std::size_t(256) << 30;
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kAlignment = 256;  // of cudaMalloc
constexpr unsigned char kUnwritten = 0xff;

std::size_t round_up(std::size_t bytes, std::size_t to) {
    return (bytes + to - 1) / to * to;
}

bool is_fenced() {
    return options().fence && !sanitizer::tells_threads_apart();
}

/// Names what was touched before the program ends, as it would on a machine with a device.
void explain_segmentation_fault(int signal, siginfo_t* info, void*) {
    if (device_memory().holds_address(info->si_addr)) {
        std::array<char, 256> text{};
        const auto allocation = device_memory().nearest(info->si_addr);
        const long offset = allocation ? static_cast<const char*>(info->si_addr) - allocation->first : 0;
        const int length =
            std::snprintf(text.data(), text.size(),
                          "CUDA emulation: access to device memory at %p by the host, or to none that is "
                          "live; %ld bytes into "
                          "an allocation of %zu bytes; copy it to the host, on a stream, and wait\n",
                          info->si_addr, offset, allocation ? allocation->second : 0);
        if (length > 0 && write(STDERR_FILENO, text.data(), std::size_t(length)) < 0) _exit(3);
    }
    ::signal(signal, SIG_DFL);  // happens again on return
}

}  // namespace

DeviceMemory::DeviceMemory() {
    void* mapped =
        mmap(nullptr, kReservedBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) {
        std::perror("CUDA emulation: reserving 256 GiB of addresses for device memory");
        std::abort();
    }
    base_ = static_cast<char*>(mapped);
    struct sigaction before {};
    sigaction(SIGSEGV, nullptr, &before);
    if (before.sa_handler != SIG_DFL) return;  // a sanitizer's or a test framework's own says more
    struct sigaction action {};
    action.sa_sigaction = explain_segmentation_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, nullptr);
}

void* DeviceMemory::allocate(std::size_t bytes) {
    // At least one red zone of 256 bytes, and the next allocation on a page of its own.
    const std::size_t span_bytes = round_up(round_up(bytes, kAlignment) + kAlignment, kPageBytes);
    const Allocation allocation{bytes, span_bytes, bytes};
    char* const first = room_for(allocation);
    if (first == nullptr || mprotect(first, span_bytes, PROT_READ | PROT_WRITE) != 0) return nullptr;
    std::memset(first, kUnwritten, span_bytes);  // NaN in every float type, -1 in every integer
    give(first, allocation);
    return first;
}

void* DeviceMemory::map(int file, std::size_t bytes, bool is_own) {
    const Allocation allocation{bytes, bytes + kPageBytes, is_own ? bytes : 0};
    char* const first = room_for(allocation);
    if (first == nullptr || bytes % kPageBytes != 0) return nullptr;
    if (mmap(first, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) == MAP_FAILED ||
        mprotect(first + bytes, kPageBytes, PROT_READ | PROT_WRITE) != 0)
        return nullptr;
    std::memset(first + bytes, kUnwritten, kPageBytes);
    give(first, allocation);
    return first;
}

/// Addresses for an allocation; null where there is no room.
char* DeviceMemory::room_for(const Allocation& allocation) const {
    if (used_bytes_ + allocation.used_bytes > options().memory_bytes ||
        given_bytes_ + allocation.span_bytes > kReservedBytes)
        return nullptr;
    return base_ + given_bytes_;
}

void DeviceMemory::give(char* first, const Allocation& allocation) {
    given_bytes_ += allocation.span_bytes;
    used_bytes_ += allocation.used_bytes;
    sanitizer::poison(first, allocation.span_bytes);
    sanitizer::unpoison(first, allocation.bytes);
    live_[first] = allocation;
    if (is_fenced() && num_open_ == 0) mprotect(first, allocation.span_bytes, PROT_NONE);
}

bool DeviceMemory::free(void* first) {
    const auto found = live_.find(static_cast<const char*>(first));
    if (found == live_.end()) return false;
    const Allocation allocation = found->second;
    {
        const OpenDevice open;
        sanitizer::unpoison(first, allocation.span_bytes);
        for (std::size_t i = allocation.bytes; i < allocation.span_bytes; ++i) {
            if (static_cast<unsigned char*>(first)[i] == kUnwritten) continue;
            report("device memory was written " + std::to_string(i - allocation.bytes) +
                   " bytes past the end of an allocation of " + std::to_string(allocation.bytes) + " bytes");
            break_device(cudaErrorIllegalAddress);
            break;
        }
    }
    sanitizer::poison(first, allocation.span_bytes);
    if (!sanitizer::tells_threads_apart()) {
        // Nothing is mapped there any more, a file's pages neither; the addresses stay reserved.
        mmap(first, allocation.span_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
             -1, 0);
    }
    used_bytes_ -= allocation.used_bytes;
    live_.erase(found);
    return true;
}

void DeviceMemory::open() {
    if (num_open_++ == 0 && is_fenced()) protect(PROT_READ | PROT_WRITE);
}

void DeviceMemory::close() {
    if (--num_open_ == 0 && is_fenced()) protect(PROT_NONE);
}

void DeviceMemory::protect(int rights) const {
    for (auto each = live_.begin(); each != live_.end();) {
        const char* first = each->first;
        const char* end = first;
        for (; each != live_.end() && each->first == end; ++each) end += each->second.span_bytes;
        mprotect(const_cast<char*>(first), std::size_t(end - first), rights);
    }
}

bool DeviceMemory::is_live(const void* first, std::size_t bytes) const {
    auto after = live_.upper_bound(static_cast<const char*>(first));
    if (after == live_.begin()) return false;
    --after;
    return static_cast<const char*>(first) + bytes <= after->first + after->second.bytes;
}

bool DeviceMemory::holds_address(const void* at) const {
    return at >= base_ && at < base_ + kReservedBytes;
}

std::optional<std::pair<const char*, std::size_t>> DeviceMemory::nearest(const void* at) const {
    auto after = live_.upper_bound(static_cast<const char*>(at));
    if (after == live_.begin()) return std::nullopt;
    --after;
    if (static_cast<const char*>(at) >= after->first + after->second.span_bytes) return std::nullopt;
    return std::pair(after->first, after->second.bytes);
}

DeviceMemory& device_memory() {
    static auto* memory = new DeviceMemory;
    return *memory;
}

}  // namespace sy::emulation
