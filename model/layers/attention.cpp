#include "model/layers/attention.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/ops/copy/copy.hpp"

namespace sy::model {

PerRow<index_t> CacheRows::lengths() const {
    PerRow<index_t> result(size());
    for (index_t row = 0; row < size(); ++row) result[row] = position[row] + 1;
    return result;
}

void store_rows(ConstTensorRef x, const CacheRows& rows, Tensor& cache, Range cols, const Context& context) {
    const index_t capacity = cache.shape()[1];
    const TensorRef all = cache.ref().as_matrix(cache.shape()[0] * capacity, cache.shape()[2]).cols_of(cols);
    const auto place = [&](index_t row) { return rows.slot[row] * capacity + rows.position[row]; };
    const index_t together = rows.is_prompt ? std::max<index_t>(rows.size(), 1) : 1;
    for (index_t row = 0; row < rows.size(); row += together)
        ops::copy(x.rows_of({row, row + together}), all.rows_of({place(row), place(row) + together}),
                  context);
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
