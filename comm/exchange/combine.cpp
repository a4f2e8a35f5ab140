#include "comm/exchange/exchange.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {

void combine_returned(ConstTensorRef returned, const DispatchPlan& plan, Write write, TensorRef y,
                      const Context& context) {
    ops::sum_rows(returned, plan.send.return_offsets, plan.send.returns, write, y, context);
}

}  // namespace sy::comm
