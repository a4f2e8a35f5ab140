#include "model/layers/attention.hpp"

#include <cmath>

namespace sy::model {

TensorRef cached_row(Tensor& cache, index_t position) {
    const Shape& shape = cache.shape();
    const index_t width = shape[2];
    return cache.ref()
        .as_matrix(shape[0], shape[1] * width)
        .cols_of({position * width, (position + 1) * width});
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
