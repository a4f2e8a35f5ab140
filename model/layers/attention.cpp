#include "model/layers/attention.hpp"

#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::model {

CacheRows::CacheRows(PerRow<index_t> slot, PerRow<std::int32_t> position, index_t capacity)
    : slot_(std::move(slot)), position_(std::move(position)) {
    for (index_t row = 0; row < size(); ++row) {
        length_.push_back(position_[row] + 1);
        place_.push_back(slot_[row] * capacity + position_[row]);
    }
}

CacheRows CacheRows::prompt(index_t slot, index_t length, index_t capacity) {
    PerRow<std::int32_t> position(length);
    std::iota(position.begin(), position.end(), 0);
    CacheRows rows(PerRow<index_t>(length, slot), std::move(position), capacity);
    rows.is_prompt_ = true;
    return rows;
}

CacheRows CacheRows::next_tokens(PerRow<index_t> slot, PerRow<std::int32_t> position, index_t capacity) {
    return {std::move(slot), std::move(position), capacity};
}

void CacheRows::upload(std::span<const std::int32_t> ids, OnDevice& lists, const Context& context) {
    const auto add = [](auto& all, const auto& values) {
        all.insert(all.end(), values.begin(), values.end());
    };
    std::vector<std::int32_t> narrow_values(ids.begin(), ids.end());
    add(narrow_values, position_);
    std::vector<index_t> wide_values;
    for (const PerRow<index_t>* const values : {&slot_, &length_, &place_}) add(wide_values, *values);
    SY_REQUIRE(std::ssize(ids) == size(), "generation: ", ids.size(), " ids for ", size(), " rows");
    if (lists.narrow.empty()) {
        lists.narrow = Tensor(context.device, DType::i32, {2, size()});
        lists.wide = Tensor(context.device, DType::i64, {3, size()});
    }
    const std::span<const std::int32_t> narrow_row = narrow_values;
    const std::span<const index_t> wide_row = wide_values;
    context.device.upload(narrow_row, lists.narrow.ref().as_matrix(1, 2 * size()), context.stream);
    context.device.upload(wide_row, lists.wide.ref().as_matrix(1, 3 * size()), context.stream);
    lists_ = &lists;
}

List<std::int32_t> CacheRows::narrow_list(index_t row) const {
    return List<std::int32_t>(lists_->narrow.ref().rows_of({row, row + 1}));
}

List<index_t> CacheRows::wide_list(index_t row) const {
    return List<index_t>(lists_->wide.ref().rows_of({row, row + 1}));
}

void store_rows(ConstTensorRef x, const CacheRows& rows, Tensor& cache, Range cols, const Context& context) {
    const TensorRef all =
        cache.ref().as_matrix(cache.shape()[0] * cache.shape()[1], cache.shape()[2]).cols_of(cols);
    if (!rows.is_prompt()) return ops::scatter_rows(x, rows.places(), all, context);
    if (rows.size() == 0) return;
    const index_t first = rows.places().of_host().front();
    ops::copy(x, all.rows_of({first, first + rows.size()}), context);
}

ops::AttentionShape attention_shape(const ModelConfig& config, const AttentionSpec& spec,
                                    const Positions& positions, index_t key_width) {
    const double chosen = config.attention.scale;
    const double scale = chosen > 0.0 ? chosen : 1.0 / std::sqrt(static_cast<double>(key_width));
    ops::AttentionShape shape;
    shape.heads = config.heads;
    shape.head_dim = key_width;
    shape.scale = static_cast<float>(scale * positions.score_factor());
    shape.visibility = spec.visibility;
    shape.window = spec.window;
    shape.soft_cap = static_cast<float>(config.attention.softcap);
    return shape;
}

ops::AttentionDropout attention_dropout(const ModelConfig& config, const AttentionSpec& spec,
                                        const PassInfo& pass) {
    if (!pass.training() || config.attention.dropout <= 0.0) return {};
    return {static_cast<float>(config.attention.dropout),
            pass.random(spec.key.block, RandomPurpose::attention_dropout), pass.batch.first_token};
}

std::unique_ptr<AttentionLayer> make_attention(LayerContext& shared, const AttentionSpec& spec,
                                               const Positions& positions) {
    const bool latent = shared.config.attention.kind == AttentionKind::latent && !spec.is_cross();
    return latent ? make_latent_attention(shared, spec, positions)
                  : make_grouped_attention(shared, spec, positions);
}

}  // namespace sy::model
