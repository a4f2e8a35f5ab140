#include <atomic>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// A well-mixed 64-bit function of one decision (the finaliser of SplitMix64 over packed fields).
std::uint64_t hash_choice(std::uint64_t layer, std::uint64_t token, std::uint64_t choice, std::int32_t expert,
                          std::uint8_t kept) {
    std::uint64_t value = token * 0x9e3779b97f4a7c15ULL;
    value ^= (layer << 48) ^ (choice << 40) ^
             (static_cast<std::uint64_t>(static_cast<std::uint32_t>(expert)) << 1) ^ kept;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

}  // namespace

void on_cpu::routing_hash(ConstTensorRef expert, std::span<const std::uint8_t> kept, index_t layer,
                          index_t first_token, TensorRef hash, const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    std::atomic<std::uint64_t> sum{0};
    cpu(context).team().for_ranges(expert_tk.rows, 64, [&](index_t begin, index_t end) {
        std::uint64_t own = 0;
        for (index_t t = begin; t < end; ++t) {
            for (index_t j = 0; j < expert_tk.cols; ++j) {
                if (expert_tk(t, j) < 0) continue;
                own += hash_choice(static_cast<std::uint64_t>(layer),
                                   static_cast<std::uint64_t>(first_token + t), static_cast<std::uint64_t>(j),
                                   expert_tk(t, j), kept[static_cast<std::size_t>(t * expert_tk.cols + j)]);
            }
        }
        sum += own;
    });
    host_values<std::int64_t>(hash)[0] = static_cast<std::int64_t>(sum.load());
}

}  // namespace sy::ops
