#include <cstring>

#include "tests/cuda_on_cpu/emulation/engine/threads.hpp"

namespace sy::emulation {
namespace {

constexpr std::size_t kRedZoneBytes = 512;

/// From the heap, one allocation a variable and a block: the sanitizers see its bounds and its life.
void allocate(Block& block, SharedVariable& variable, std::size_t bytes) {
    sanitizer::become(block.identity);
    const std::size_t room = bytes + 2 * kRedZoneBytes;
    auto* raw = new char[room];
    const auto first = (reinterpret_cast<std::uintptr_t>(raw) + kRedZoneBytes - 1) & ~(kRedZoneBytes - 1);
    std::memset(raw, 0xff, room);
    variable.address = reinterpret_cast<void*>(first);
    variable.bytes = bytes;
    sanitizer::poison(raw, room);
    sanitizer::unpoison(variable.address, bytes);
    sanitizer::release(&variable.order);
    sanitizer::become(scheduler()->identity);
    block.memory.emplace_back(raw);
}

}  // namespace

std::optional<SharedOverrun> find_shared_overrun(const Block& block) {
    for (const auto& [key, variable] : block.variables) {
        const auto* end = static_cast<const unsigned char*>(variable->address) + variable->bytes;
        for (std::size_t i = 0; i < kRedZoneBytes; ++i) {
            if (end[i] != 0xff) return SharedOverrun{variable->bytes, variable->bytes + i};
        }
    }
    return std::nullopt;
}

void* shared_variable(const void* key, std::size_t bytes, const Place& where) {
    Block& block = *running_thread().block;
    auto found = block.variables.find(key);
    if (found == block.variables.end()) {
        block.shared_bytes += bytes;
        if (block.shared_bytes > kSharedLimitBytes) {
            fault(where, "a block uses %zu bytes of shared memory, more than %zu", block.shared_bytes,
                  kSharedLimitBytes);
        }
        const EngineScope engine;
        found = block.variables.emplace(key, std::make_unique<SharedVariable>()).first;
        allocate(block, *found->second, bytes);
    }
    sanitizer::acquire(&found->second->order);
    return found->second->address;
}

void* dynamic_shared(const Place& where) {
    return shared_variable(nullptr, scheduler()->launch->dynamic_shared_bytes, where);
}

}  // namespace sy::emulation
