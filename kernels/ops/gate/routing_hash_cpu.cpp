#include <atomic>

#include "kernels/core/profile.hpp"
#include "kernels/core/fits.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/choice_hash.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {

void on_cpu::routing_hash(ConstTensorRef expert, std::span<const std::uint8_t> kept, index_t layer,
                          index_t first_token, TensorRef hash, const Context& context) {
    const auto expert_tk = host<const std::int32_t>(expert);
    std::atomic<std::uint64_t> sum{0};
    cpu(context).team().for_ranges(expert_tk.rows, 64, [&](index_t begin, index_t end) {
        std::uint64_t own = 0;
        for (index_t t = begin; t < end; ++t) {
            for (index_t j = 0; j < expert_tk.cols; ++j) {
                if (expert_tk(t, j) < 0) continue;
                own += detail::hash_choice(static_cast<std::uint64_t>(layer),
                                           static_cast<std::uint64_t>(first_token + t),
                                           static_cast<std::uint64_t>(j), expert_tk(t, j),
                                           kept[static_cast<std::size_t>(t * expert_tk.cols + j)]);
            }
        }
        sum += own;
    });
    host_values<std::int64_t>(hash)[0] = static_cast<std::int64_t>(sum.load());
}

}  // namespace sy::ops
