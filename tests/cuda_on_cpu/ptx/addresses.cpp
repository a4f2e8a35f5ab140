#include <algorithm>
#include <array>
#include <cstdio>

#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"
#include "tests/cuda_on_cpu/ptx/frame.hpp"

// Every access goes to live memory of its space, is inside one allocation or variable, and is aligned.
namespace sy::emulation::ptx {
namespace {

std::string hexadecimal(std::uint64_t at) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(at));
    return text.data();
}

std::string describe(Access access, std::size_t bytes) {
    return (access == Access::read ? "a read of " : "a write of ") + std::to_string(bytes) + " bytes";
}

bool is_inside(const void* first, std::size_t size, const char* at, std::size_t bytes) {
    const char* begin = static_cast<const char*>(first);
    return begin != nullptr && at >= begin && at + bytes <= begin + size;
}

/// Global memory that holds the address: an allocation, pinned memory of the host, or a variable of the module.
Grid::Range find_range(const Module& module, const char* at, std::size_t bytes) {
    if (is_device(at, bytes)) {
        const auto allocation = device_memory().nearest(at);
        return {allocation->first, allocation->first + allocation->second};
    }
    if (is_pinned(at, bytes)) return {at, at + bytes};
    for (const auto& [name, variable] : module.variables) {
        const char* first = variable.memory.data();
        if (is_inside(first, variable.memory.size(), at, bytes)) {
            return {first, first + variable.memory.size(), variable.is_constant};
        }
    }
    return {};
}

/// What is near an address that is none: for a message.
std::string describe_place(const char* at) {
    if (!is_device_address(at)) return ", which is no memory of the device";
    const auto allocation = device_memory().nearest(at);
    if (!allocation) return ", device memory that is not live";
    return ", " + std::to_string(at - allocation->first) + " bytes into an allocation of " +
           std::to_string(allocation->second) + " bytes";
}

}  // namespace

char* Frame::shared_address(const Instruction& instruction, std::uint64_t at, std::size_t bytes) const {
    if (at >= kDynamicShared) {
        const std::uint64_t offset = at - kDynamicShared;
        if (thread_.dynamic_shared != nullptr && offset + bytes <= thread_.grid.dynamic_shared_bytes)
            return thread_.dynamic_shared + offset;
        fault_at(instruction, "an access to byte " + std::to_string(offset) + " of " +
                                  std::to_string(thread_.grid.dynamic_shared_bytes) +
                                  " bytes of dynamic shared memory");
    }
    for (const Piece& variable : thread_.grid.kernel.shared) {
        if (at >= variable.offset && at + bytes <= variable.offset + variable.bytes)
            return thread_.shared + at;
    }
    std::string near = "an access to shared memory outside every variable";
    for (const Piece& variable : thread_.grid.kernel.shared) {
        if (at < variable.offset) continue;
        near = "an access to byte " + std::to_string(at - variable.offset) + " of " + variable.name +
               ", a shared variable of " + std::to_string(variable.bytes) + " bytes";
    }
    fault_at(instruction, near);
}

std::uint64_t Frame::shared_to_generic(const Instruction& instruction, std::uint64_t at) const {
    at &= 0xffffffffU;
    if (at >= kDynamicShared && thread_.dynamic_shared != nullptr) {
        return reinterpret_cast<std::uint64_t>(thread_.dynamic_shared) + (at - kDynamicShared);
    }
    if (thread_.shared == nullptr)
        fault_at(instruction, "an address of shared memory, which the kernel lacks");
    return reinterpret_cast<std::uint64_t>(thread_.shared) + at;
}

std::uint64_t Frame::generic_to_shared(const Instruction& instruction, std::uint64_t at) const {
    const char* pointer = reinterpret_cast<const char*>(at);
    if (is_inside(thread_.shared, thread_.grid.kernel.shared_bytes, pointer, 0))
        return std::uint64_t(pointer - thread_.shared);
    if (is_inside(thread_.dynamic_shared, thread_.grid.dynamic_shared_bytes, pointer, 0))
        return std::uint64_t(pointer - thread_.dynamic_shared) + kDynamicShared;
    fault_at(instruction, hexadecimal(at) + " is no address of shared memory");
}

char* Frame::generic_address(const Instruction& instruction, std::uint64_t at, std::size_t bytes,
                             Access access) const {
    char* pointer = reinterpret_cast<char*>(at);
    Grid& grid = thread_.grid;
    const auto holds = [&](const Grid::Range& range) {
        return pointer >= range.first && pointer + bytes <= range.end &&
               !(range.is_read_only && access == Access::write);
    };
    for (const Grid::Range& range : grid.recent) {
        if (holds(range)) return pointer;
    }
    if (instruction.space == Space::generic) {
        if (is_inside(thread_.shared, grid.kernel.shared_bytes, pointer, bytes)) {
            return shared_address(instruction, generic_to_shared(instruction, at), bytes);
        }
        if (is_inside(thread_.dynamic_shared, grid.dynamic_shared_bytes, pointer, bytes)) return pointer;
    }
    if (instruction.space != Space::global) {
        for (const Frame* frame = this; frame != nullptr; frame = frame->caller_) {
            if (is_inside(frame->local_.data(), frame->local_.size(), pointer, bytes)) return pointer;
            if (is_inside(frame->parameters_.data(), frame->parameters_.size(), pointer, bytes))
                return pointer;
        }
    }
    const Grid::Range found = find_range(grid.module, pointer, bytes);
    if (!holds(found)) {
        fault_at(instruction, describe(access, bytes) + " at " + hexadecimal(at) +
                                  (found.is_read_only ? ", which is constant" : describe_place(pointer)));
    }
    grid.recent[grid.next_recent++ % grid.recent.size()] = found;
    return pointer;
}

char* Frame::address(const Instruction& instruction, const Operand& base, std::size_t bytes,
                     Access access) const {
    const std::uint64_t at = bits(base) + std::uint64_t(instruction.offset);
    if (at % bytes != 0) {
        fault_at(instruction, "misaligned: " + describe(access, bytes) + " at " + hexadecimal(at));
    }
    if (instruction.space == Space::shared) {
        char* pointer = shared_address(instruction, at & 0xffffffffU, bytes);
        access == Access::read ? sanitizer::read(pointer, bytes) : sanitizer::write(pointer, bytes);
        return pointer;
    }
    char* pointer = generic_address(instruction, at, bytes, access);
    access == Access::read ? sanitizer::read(pointer, bytes) : sanitizer::write(pointer, bytes);
    return pointer;
}

}  // namespace sy::emulation::ptx
