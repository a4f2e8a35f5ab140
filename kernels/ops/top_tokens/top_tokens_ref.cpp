#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/top_tokens/top_tokens.hpp"

namespace sy::ops::ref {

void take_top_tokens(MatrixView<const float> scores, index_t count, MatrixView<std::uint8_t> taken) {
    for (index_t e = 0; e < scores.cols; ++e) {
        std::vector<index_t> order(static_cast<std::size_t>(scores.rows));
        std::iota(order.begin(), order.end(), index_t{0});
        std::ranges::stable_sort(order, [&](index_t a, index_t b) { return scores(a, e) > scores(b, e); });
        for (index_t place = 0; place < scores.rows; ++place)
            taken(order[static_cast<std::size_t>(place)], e) = place < count ? 1 : 0;
    }
}

}  // namespace sy::ops::ref
