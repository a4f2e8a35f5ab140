#include "kernels/ops/attention/relative_bias.hpp"

#include <cmath>

namespace sy::ops::detail {

RelativeBias::RelativeBias(const AttentionShape& shape, Range distances, const Context& context)
    : distances_(distances) {
    const PositionBias& bias = shape.bias;
    const bool learned = !bias.table.is_null();
    if (!learned && bias.slopes.empty()) return;
    values_ = Tensor(context.device, DType::f32, {shape.heads, distances.size()});
    const MatrixView<float> values = values_.matrix<float>();
    if (!learned) {
        for (index_t head = 0; head < shape.heads; ++head) {
            const auto slope = static_cast<double>(bias.slopes[static_cast<std::size_t>(head)]);
            for (index_t d = 0; d < distances.size(); ++d) {
                const double distance = std::fabs(static_cast<double>(distances.begin + d));
                values(head, d) = static_cast<float>(-slope * distance);
            }
        }
        return;
    }
    const auto table = host<const float>(bias.table);
    buckets_ = Tensor(context.device, DType::i32, {distances.size()});
    const std::span<std::int32_t> buckets = buckets_.values<std::int32_t>();
    for (index_t d = 0; d < distances.size(); ++d) {
        const index_t bucket =
            t5_bucket(distances.begin + d, table.rows, bias.max_distance, shape.visibility);
        buckets[static_cast<std::size_t>(d)] = static_cast<std::int32_t>(bucket);
        for (index_t head = 0; head < shape.heads; ++head) values(head, d) = table(bucket, head);
    }
}

const float* RelativeBias::of_head(index_t head) const {
    if (values_.empty()) return nullptr;
    return values_.values<float>().data() + head * distances_.size() - distances_.begin;
}

void RelativeBias::add_to_table(std::span<const float> sums, index_t head, MatrixView<float> dtable) const {
    const std::span<const std::int32_t> buckets = buckets_.values<std::int32_t>();
    for (std::size_t d = 0; d < sums.size(); ++d) dtable(buckets[d], head) += sums[d];
}

}  // namespace sy::ops::detail
