#include "model/layers/positions.hpp"

#include "kernels/core/decimal.hpp"

namespace sy::model {
namespace {

ops::RotaryRule rotary_rule(const ModelConfig& config) {
    const PositionConfig& position = config.position;
    const bool latent = config.attention.kind == AttentionKind::latent;
    ops::RotaryRule rule;
    rule.rotary_dim = latent ? config.attention.rope_dim
                             : 2 * decimal_floor(position.rope_fraction, config.head_width(), 2);
    rule.theta = position.rope_theta;
    rule.pairs = position.rope_pairs;
    rule.scaling.stretch = position.rope_scaling;
    rule.scaling.factor = position.rope_factor;
    rule.scaling.original_positions = position.rope_original_len;
    // DeepSeek sharpens the softmax itself, the YaRN paper queries and keys.
    if (latent) rule.scaling.mscale_all_dims = rule.scaling.mscale;
    return rule;
}

}  // namespace

PerRow<std::int32_t> positions_of_rows(index_t rows, index_t seq_len) {
    PerRow<std::int32_t> positions(rows);
    for (index_t row = 0; row < rows; ++row) positions[row] = narrow<std::int32_t>(row % seq_len);
    return positions;
}

Positions::Positions(LayerContext& shared, StackId stack)
    : shared_(shared), table_(shared.parameters.find({{stack, -1, Part::embedding}, Role::position_bias})) {
    const ModelConfig& config = shared.config;
    const PositionKind kind = config.position.kind;
    if (kind == PositionKind::rope) {
        rotary_.emplace(config.seq_len, rotary_rule(config));
        const Context& context = shared.parameters.context();
        if (!context.device.is_host_memory()) rotary_->upload(context);
    }
    if (kind == PositionKind::alibi) slopes_ = ops::alibi_slopes(config.heads);
}

void Positions::rotate(TensorRef x, ops::RotaryHeads heads, index_t seq_len, ops::Direction direction,
                       const Context& context) const {
    if (!rotary_) return;
    ops::rotary(x, heads, positions_of_rows(x.rows(), seq_len), *rotary_, direction, context);
}

void Positions::rotate_at(TensorRef x, ops::RotaryHeads heads, List<std::int32_t> positions,
                          const Context& context) const {
    if (!rotary_) return;
    ops::rotary(x, heads, positions, *rotary_, ops::Direction::forward, context);
}

ops::PositionBias Positions::bias() const {
    return {.slopes = slopes_,
            .table = shared_.parameters.weight(table_),
            .max_distance = shared_.config.position.t5_max_distance};
}

}  // namespace sy::model
