#include "model/layers/attention.hpp"

namespace sy::model {

MatrixView<float> cached_row(Tensor& cache, index_t position) {
    const Shape& shape = cache.shape();
    const index_t width = shape[2];
    return MatrixView<float>(cache.values<float>().data(), shape[0], shape[1] * width)
        .cols_of({position * width, (position + 1) * width});
}

TensorView3<const float> cached_rows(const Tensor& cache) {
    const Shape& shape = cache.shape();
    return {cache.values<float>().data(), shape[0], shape[1], shape[2]};
}

std::unique_ptr<AttentionLayer> make_attention(LayerContext& shared, const std::string& name,
                                               const AttentionSpec& spec, const Positions& positions) {
    const bool latent =
        shared.config.attention.kind == AttentionKind::latent && spec.role == AttentionRole::self;
    return latent ? make_latent_attention(shared, name, spec, positions)
                  : make_grouped_attention(shared, name, spec, positions);
}

}  // namespace sy::model
