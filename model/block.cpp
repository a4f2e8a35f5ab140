#include "model/block.hpp"

#include "model/layers/residual.hpp"

namespace sy::model {

Block::Block(const BlockContext& context, const Positions& positions, const BlockSpec& spec)
    : shared_(context.shared), spec_(spec) {
    const ModelConfig& config = shared_.config;
    const AttentionSpec self{.layer_idx = spec.layer_idx,
                             .stream_idx = spec.stream_idx,
                             .role = AttentionRole::self,
                             .visibility = spec.visibility,
                             .window = spec.window};
    add_sublayer(Part::attention, "attention", [&](const std::string& name) {
        attention_ = make_attention(shared_, name, self, positions);
    });
    if (spec.has_cross_attention) {
        AttentionSpec cross = self;
        cross.role = AttentionRole::cross;
        cross.visibility = ops::Visibility::all;
        cross.window = 0;
        add_sublayer(Part::cross_attention, "cross_attention", [&](const std::string& name) {
            cross_attention_ = make_attention(shared_, name, cross, positions);
        });
    }
    add_sublayer(Part::feed_forward, "feed_forward", [&](const std::string& name) {
        if (spec.is_moe) {
            moe_ = std::make_unique<MoeLayer>(shared_, context.moe, context.world, spec_.name + ".moe",
                                              spec.stream_idx);
        } else {
            const Bias bias = config.ffn_bias ? Bias::added : Bias::none;
            feed_forward_ =
                std::make_unique<FeedForward>(shared_, name, FeedForward::Spec{config.ffn_width, bias});
        }
    });
}

template <class Make>
void Block::add_sublayer(Part part, const std::string& part_name, const Make& make) {
    const std::string name = spec_.name + "." + part_name;
    SubLayer& layer = sublayers_.emplace_back();
    layer.part = part;
    // In parallel, the first sub-layer's norm serves all.
    if (shared_.config.wiring == Wiring::serial || sublayers_.size() == 1)
        layer.norm = std::make_unique<NormLayer>(shared_, name + "_norm");
    make(name);
    if (shared_.config.norm_placement == NormPlacement::both)
        layer.output_norm = std::make_unique<NormLayer>(shared_, name + "_output_norm");
}

Value& Block::apply(const SubLayer& layer, const BlockRun& run, Value& x) const {
    if (layer.part == Part::feed_forward) {
        return moe_ ? moe_->forward(run.tape, x, run.pass, run.statistics)
                    : feed_forward_->forward(run.tape, x, run.pass);
    }
    const bool cross = layer.part == Part::cross_attention;
    if (run.cache == nullptr) {
        return cross ? cross_attention_->forward(run.tape, x, run.pass, run.encoder)
                     : attention_->forward(run.tape, x, run.pass, nullptr);
    }
    Value& y = run.tape.value(x.ref().rows(), x.ref().cols());
    if (cross) {
        cross_attention_->decode_cross(x.ref(), run.cache->cross, y.ref(), run.tape.context());
    } else {
        attention_->decode(x.ref(), run.position, run.cache->self, y.ref(), run.tape.context());
    }
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
        Value* out = &apply(layer, run, *before.normed);
        if (layer.output_norm) out = layer.output_norm->forward(run.tape, *out, nullptr, run.pass).normed;
        Value& y = drop(layer, run, *out);
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
