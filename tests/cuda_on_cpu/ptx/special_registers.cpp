#include "tests/cuda_on_cpu/ptx/special_registers.hpp"

#include <algorithm>
#include <array>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"

namespace sy::emulation::ptx {
namespace {

constexpr std::array<std::string_view, 19> kNames{
    "%tid.x",       "%tid.y",       "%tid.z",       "%ntid.x",           "%ntid.y",
    "%ntid.z",      "%ctaid.x",     "%ctaid.y",     "%ctaid.z",          "%nctaid.x",
    "%nctaid.y",    "%nctaid.z",    "%laneid",      "%lanemask_eq",      "%lanemask_lt",
    "%lanemask_le", "%lanemask_gt", "%lanemask_ge", "%dynamic_smem_size"};

}  // namespace

std::optional<std::uint32_t> find_special_register(std::string_view name) {
    const auto found = std::find(kNames.begin(), kNames.end(), name);
    if (found == kNames.end()) return std::nullopt;
    return std::uint32_t(found - kNames.begin());
}

std::uint64_t special_register(std::uint32_t index, std::size_t dynamic_shared_bytes) {
    const std::uint32_t own = 1U << lane();
    const std::array<std::uint64_t, kNames.size()> values{threadIdx.x,
                                                          threadIdx.y,
                                                          threadIdx.z,
                                                          blockDim.x,
                                                          blockDim.y,
                                                          blockDim.z,
                                                          blockIdx.x,
                                                          blockIdx.y,
                                                          blockIdx.z,
                                                          gridDim.x,
                                                          gridDim.y,
                                                          gridDim.z,
                                                          lane(),
                                                          own,
                                                          own - 1,
                                                          own | (own - 1),
                                                          std::uint32_t(~(own | (own - 1))),
                                                          std::uint32_t(~(own - 1)),
                                                          dynamic_shared_bytes};
    return values[index];
}

}  // namespace sy::emulation::ptx
