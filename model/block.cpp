#include "model/block.hpp"

#include "model/autograd/traced.hpp"
#include "model/layers/residual.hpp"

namespace sy::model {

Block::Block(const BlockContext& context, const Positions& positions, const BlockSpec& spec)
    : shared_(context.shared), trace_(context.world.trace), spec_(spec) {
    const auto attention = [&](Part part, ops::Visibility visibility, index_t window) {
        add_sublayer(part);
        return make_attention(
            shared_,
            {.key = key(part), .layer_idx = spec.layer_idx, .visibility = visibility, .window = window},
            positions);
    };
    attention_ = attention(Part::attention, spec.visibility, spec.window);
    const auto has = [&](Part part, Role role) { return shared_.parameters.find({key(part), role}) >= 0; };
    if (has(Part::cross_attention, Role::query))
        cross_attention_ = attention(Part::cross_attention, ops::Visibility::all, 0);
    add_sublayer(Part::feed_forward);
    if (has(Part::experts, Role::up)) {
        moe_ = std::make_unique<MoeLayer>(shared_, context.moe, context.world, key(Part::mixture));
    } else {
        feed_forward_ = std::make_unique<FeedForward>(shared_, key(Part::feed_forward));
    }
}

void Block::add_sublayer(Part part) {
    SubLayer& layer = sublayers_.emplace_back();
    layer.part = part;
    // In parallel, the first sub-layer's norm serves all.
    if (shared_.config.wiring == Wiring::serial || sublayers_.size() == 1)
        layer.norm = std::make_unique<NormLayer>(shared_, key(part), Role::norm);
    if (shared_.config.norm_placement == NormPlacement::both)
        layer.output_norm = std::make_unique<NormLayer>(shared_, key(part), Role::output_norm);
}

Value& Block::apply(const SubLayer& layer, const BlockRun& run, Value& x) const {
    const auto names = [&]() -> TracedPart {
        if (layer.part == Part::attention) return {"attention", "attention backward"};
        if (layer.part == Part::cross_attention) return {"cross-attention", "cross-attention backward"};
        if (moe_) return {"mixture", "mixture backward"};
        return {"feed-forward", "feed-forward backward"};
    };
    return traced(run.tape, trace_, names(), spec_.stream_idx,
                  [&]() -> Value& { return apply_untraced(layer, run, x); });
}

Value& Block::apply_untraced(const SubLayer& layer, const BlockRun& run, Value& x) const {
    if (layer.part == Part::feed_forward) {
        if (moe_ && run.rows != nullptr && !run.rows->is_prompt() &&
            moe_->extends_on_device(run.tape.context()))
            return moe_->extend(run.tape, x, run.pass);
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
        cross_attention_->extend_cross(x.ref(), *run.rows, run.cache->cross, y.ref(), run.tape.context());
    } else {
        attention_->extend(x.ref(), *run.rows, run.cache->self, y.ref(), run.tape.context());
    }
    return y;
}

index_t Block::dropout_stream(Part part) const {
    // Stream 0 of a layer's four is the embedding's, of a stack whose first layer it is.
    const index_t first = 4 * spec_.stream_idx;
    if (part == Part::attention) return first + 1;
    return part == Part::feed_forward ? first + 2 : first + 3;
}

Value& Block::drop(const SubLayer& layer, const BlockRun& run, Value& x) const {
    model::drop(run.tape, x, shared_.config.dropout, dropout_stream(layer.part), run.pass);
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
