#include "comm/exchange/exchange.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {

void combine_returned(MatrixView<const float> returned, const DispatchPlan& plan, Combine mode,
                      MatrixView<float> y, const Context& context) {
    const ops::Into into = mode == Combine::add ? ops::Into::add : ops::Into::overwrite;
    ops::sum_rows(returned, plan.send.return_offsets, plan.send.returns, into, y, context);
}

}  // namespace sy::comm
