#include "model/layers/block.hpp"

#include "model/layers/residual.hpp"

namespace sy::model {

Block::Block(const BlockContext& context, const ops::RotaryTable& rotary, const BlockSpec& spec)
    : shared_(context.shared), spec_(spec) {
    const ModelConfig& config = shared_.config;
    const auto norm = [&](const char* part) {
        return std::make_unique<NormLayer>(shared_, concat(spec.name, ".", part));
    };
    const bool both = config.norm_placement == NormPlacement::both;
    SubLayer& attention = sublayers_.emplace_back();
    attention.part = Part::attention;
    attention.norm = norm("attention_norm");
    attention_ = std::make_unique<AttentionLayer>(shared_, spec.name + ".attention", rotary);
    if (both) attention.output_norm = norm("attention_output_norm");
    SubLayer& feed_forward = sublayers_.emplace_back();
    feed_forward.part = Part::feed_forward;
    if (config.wiring == Wiring::serial) feed_forward.norm = norm("feed_forward_norm");
    if (spec.is_moe) {
        moe_ = std::make_unique<MoeLayer>(shared_, context.moe, context.world, spec.name + ".moe",
                                          spec.stream_idx);
    } else {
        feed_forward_ = std::make_unique<FeedForward>(
            shared_, spec.name + ".feed_forward",
            FeedForward::Spec{config.ffn_width, config.ffn_bias ? Bias::added : Bias::none});
    }
    if (both) feed_forward.output_norm = norm("feed_forward_output_norm");
}

Value& Block::apply(const SubLayer& layer, const BlockRun& run, Value& x) const {
    if (layer.part == Part::feed_forward) {
        return moe_ ? moe_->forward(run.tape, x, run.pass, run.statistics)
                    : feed_forward_->forward(run.tape, x, run.pass);
    }
    if (run.cache == nullptr) return attention_->forward(run.tape, x, run.pass);
    Value& y = run.tape.value(x.view().rows, x.view().cols);
    attention_->decode(x.view(), run.position, *run.cache, y.view(), run.tape.context());
    return y;
}

Value& Block::drop(const SubLayer& layer, const BlockRun& run, Value& x) const {
    // Stream 0 of a layer's four is the embedding's, of a stack whose first layer it is.
    const index_t key_idx = 4 * spec_.stream_idx + 1 + static_cast<index_t>(layer.part);
    model::drop(run.tape, x, shared_.config.dropout, key_idx, run.pass);
    return x;
}

Stream Block::serial(const SubLayer& layer, const BlockRun& run, Stream in) const {
    Tape& tape = run.tape;
    switch (shared_.config.norm_placement) {
        case NormPlacement::pre: {
            const NormLayer::Result before = layer.norm->forward(tape, *in.sum, in.delta, run.pass);
            return {before.stream, &drop(layer, run, apply(layer, run, *before.normed))};
        }
        case NormPlacement::both: {
            const NormLayer::Result before = layer.norm->forward(tape, *in.sum, in.delta, run.pass);
            Value& y = apply(layer, run, *before.normed);
            Value* const normed = layer.output_norm->forward(tape, y, nullptr, run.pass).normed;
            return {before.stream, &drop(layer, run, *normed)};
        }
        case NormPlacement::outside: {
            Value& x = add_residual(tape, *in.sum, in.delta);
            Value* const normed = layer.norm->forward(tape, apply(layer, run, x), nullptr, run.pass).normed;
            return {&x, &drop(layer, run, *normed)};
        }
        case NormPlacement::post:
            break;
    }
    Value& x = add_residual(tape, *in.sum, in.delta);
    Value& y = drop(layer, run, apply(layer, run, x));
    return {layer.norm->forward(tape, x, &y, run.pass).normed, nullptr};
}

Stream Block::parallel(const BlockRun& run, Stream in) const {
    const NormLayer::Result before = sublayers_.front().norm->forward(run.tape, *in.sum, in.delta, run.pass);
    Value* total = nullptr;
    for (const SubLayer& layer : sublayers_) {
        Value& y = drop(layer, run, apply(layer, run, *before.normed));
        if (total == nullptr) {
            total = &y;
        } else {
            join(run.tape, *total, y);
        }
    }
    return {before.stream, total};
}

Stream Block::forward(const BlockRun& run, Stream in) const {
    if (shared_.config.wiring == Wiring::parallel) return parallel(run, in);
    for (const SubLayer& layer : sublayers_) in = serial(layer, run, in);
    return in;
}

}  // namespace sy::model
