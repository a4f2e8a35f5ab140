#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sy::emulation::ptx {

/// The number of a special register, such as %tid.x.
std::optional<std::uint32_t> find_special_register(std::string_view name);
/// What the running thread reads from it.
std::uint64_t special_register(std::uint32_t index, std::size_t dynamic_shared_bytes);

}  // namespace sy::emulation::ptx
