#include "comm/exchange/exchange.hpp"
#include "comm/shared/unit_memory.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {

void combine_returned(ConstTensorRef results, const DispatchPlan& plan, Write write, TensorRef y,
                      const Context& context) {
    ops::sum_rows(results, plan.back.offsets, plan.back.rows, write, y, context);
}

Tensor PendingRows::wait() {
    exchange_.wait();
    if (memory_ != nullptr) memory_->meet("rows of a node");
    return std::move(rows_);
}

}  // namespace sy::comm
