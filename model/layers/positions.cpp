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
    rule.pairs = position.rope_pairs == RopePairs::interleaved ? ops::RotaryPairs::interleaved
                                                               : ops::RotaryPairs::half_split;
    switch (position.rope_scaling) {
        case RopeScaling::none:
            rule.scaling.stretch = ops::RotaryStretch::none;
            break;
        case RopeScaling::linear:
            rule.scaling.stretch = ops::RotaryStretch::linear;
            break;
        case RopeScaling::ntk:
            rule.scaling.stretch = ops::RotaryStretch::ntk;
            break;
        case RopeScaling::llama3:
            rule.scaling.stretch = ops::RotaryStretch::llama3;
            break;
        case RopeScaling::yarn:
            rule.scaling.stretch = ops::RotaryStretch::yarn;
            break;
    }
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

Positions::Positions(LayerContext& shared, StackId stack, index_t num_positions)
    : shared_(shared),
      num_positions_(num_positions),
      table_(shared.parameters.find({{stack, -1, Part::embedding}, Role::position_bias})) {
    const ModelConfig& config = shared.config;
    const PositionKind kind = config.position.kind;
    if (kind == PositionKind::rope) {
        rotary_.emplace(num_positions, rotary_rule(config));
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
    ops::PositionBias bias{.slopes = slopes_, .max_distance = shared_.config.position.t5_max_distance};
    if (table_ >= 0) bias.table = shared_.parameters.weight(table_);
    return bias;
}

GradientRef Positions::table_gradient() const {
    return table_ < 0 ? GradientRef{} : shared_.parameters.gradient(table_);
}

void Positions::table_ready() const {
    if (table_ >= 0) shared_.gradient_ready(table_);
}

}  // namespace sy::model
