#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/core/offsets.hpp"
#include "kernels/ops/expert_ffn/host_operands.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"

namespace sy::ops::detail {

/// Slots in one task: as many rows as share a packed panel of a weight.
inline constexpr index_t kTaskSlots = 480;

struct TaskAxis;

/// Consecutive slots of one expert.
struct SlotTask {
    index_t expert;
    Range slots;
};

/// Near-equal pieces of at most kTaskSlots; a function of the offsets alone.
inline Indexed<TaskAxis, SlotTask> slot_tasks(const ExpertSlots& slots) {
    Indexed<TaskAxis, SlotTask> tasks;
    for (index_t expert = 0; expert < slots.num_experts(); ++expert) {
        const Range all = group_of(slots.offsets, expert);
        const index_t pieces = ceil_div(all.size(), kTaskSlots);
        for (index_t piece = 0; piece < pieces; ++piece) {
            const Range some = row_part_of(all.size(), pieces, piece);
            tasks.push_back({expert, {all.begin + some.begin, all.begin + some.end}});
        }
    }
    return tasks;
}

/// Copies the input rows of `slots` in `range` to consecutive rows of `to`.
template <class In>
void gather(MatrixView<const In> x, const ExpertSlots& slots, Range range, MatrixView<In> to) {
    const PerSlotSpan<const std::int32_t> rows = part(slots.row, range);
    for (index_t slot = 0; slot < rows.size(); ++slot)
        std::ranges::copy(x.row_span(rows[slot]), to.row(slot));
}

/// A piece of scratch memory for each thread, allocated before the threads start.
class ThreadScratch {
  public:
    ThreadScratch(const Context& context, index_t bytes_each)
        : stride_(round_up(bytes_each, 4096)),
          memory_(context.device.allocate(std::max<index_t>(1, stride_ * context.device.num_threads()))) {}
    std::byte* of(int thread_idx) { return memory_.data() + stride_ * thread_idx; }

  private:
    index_t stride_;
    Buffer memory_;
};

}  // namespace sy::ops::detail
