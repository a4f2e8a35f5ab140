#include "model/stack.hpp"

namespace sy::model {

Stack::Stack(const BlockContext& context, const Spec& spec)
    : shared_(context.shared),
      trace_(context.world.trace),
      embedding_(context.shared, spec.id, spec.first_stream),
      positions_(context.shared, spec.id) {
    const AttentionConfig& attention = shared_.config.attention;
    const std::vector<bool> windowed =
        layer_pattern("attention.window_layers", attention.window_layers, spec.num_layers);
    const bool causal = spec.visibility == ops::Visibility::causal;
    for (index_t layer = 0; layer < spec.num_layers; ++layer) {
        const bool has_window = causal && windowed[static_cast<std::size_t>(layer)];
        blocks_.emplace_back(context, positions_,
                             BlockSpec{.stack = spec.id,
                                       .layer_idx = layer,
                                       .stream_idx = spec.first_stream + layer,
                                       .name = block_name(spec.id, layer),
                                       .visibility = spec.visibility,
                                       .window = has_window ? attention.window : 0});
    }
    if (shared_.config.norm_placement != NormPlacement::post)
        final_norm_ = std::make_unique<NormLayer>(shared_, LayerKey{spec.id, -1, Part::output}, Role::norm);
    if (shared_.config.head_transform && spec.id == StackId::main)
        transform_ = std::make_unique<HeadTransform>(shared_);
}

NormLayer::Result Stack::finish(Tape& tape, Stream stream, const PassInfo& pass) const {
    NormLayer::Result last{stream.sum, stream.sum};
    if (final_norm_) last = final_norm_->forward(tape, *stream.sum, stream.delta, pass);
    if (transform_) last.normed = &transform_->forward(tape, *last.normed, pass);
    return last;
}

NormLayer::Result Stack::forward(Tape& tape, const PassInfo& pass, std::span<MoeStatistics> statistics,
                                 const EncoderOutput* encoder) const {
    Stream stream{&embedding_.forward(tape, pass), nullptr};
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        stream = run(blocks_[i],
                     {.tape = tape, .pass = pass, .statistics = &statistics[i], .encoder = encoder}, stream);
    return finish(tape, stream, pass);
}

NormLayer::Result Stack::extend(Tape& tape, const PassInfo& pass, std::span<BlockCache> caches,
                                const CacheRows& rows) const {
    const List<std::int32_t> ids = rows.is_on_device() ? rows.ids() : pass.ids;
    Stream stream{&embedding_.forward_at(tape, pass, ids, rows.positions()), nullptr};
    for (std::size_t i = 0; i < blocks_.size(); ++i)
        stream = run(blocks_[i], {.tape = tape, .pass = pass, .cache = &caches[i], .rows = &rows}, stream);
    return finish(tape, stream, pass);
}

Stream Stack::run(const Block& block, const BlockRun& run, Stream in) const {
    if (!run.tape.recording()) {
        const Stream out = run_alone(block, run, in);
        // Nobody reads the stream below a block any more.
        for (Value* const value : {in.sum, in.delta})
            if (value != nullptr && value != out.sum) value->data = {};
        return out;
    }
    return shared_.config.recompute == Recompute::block ? run_recomputed(block, run, in)
                                                        : block.forward(run, in);
}

Stream Stack::run_alone(const Block& block, const BlockRun& run, Stream in) {
    Tape once(Tape::Mode::forward_only, run.tape.context());
    const Stream out = block.forward({once, run.pass, run.statistics, run.encoder, run.cache, run.rows}, in);
    const auto keep = [&](Value* value) {
        if (value == nullptr || value == in.sum) return value;
        Value& copy = run.tape.value(0, 0);
        copy.data = std::move(value->data);
        return &copy;
    };
    return {keep(out.sum), keep(out.delta)};
}

Stream Stack::run_recomputed(const Block& block, const BlockRun& run, Stream in) const {
    Tape& tape = run.tape;
    const Context& context = tape.context();
    const Stream kept = run_alone(block, run, in);
    tape.record([this, &block, &context, in, kept, pass = run.pass, encoder = run.encoder] {
        Tape again(Tape::Mode::record, context);
        const Stream out = [&] {
            const TraceSpan span(trace_, TraceKind::compute, "recompute", block.spec().stream_idx);
            return block.forward({.tape = again, .pass = pass, .encoder = encoder}, in);
        }();
        if (kept.sum != in.sum) out.sum->grad = std::move(kept.sum->grad);
        if (kept.delta != nullptr) {
            // The block's last addend and its sum share one gradient, as they do without recomputation.
            SY_REQUIRE(kept.delta->grad_owner == kept.sum,
                       "recompute: the gradient of a block's last addend does not come from its sum");
            out.delta->grad_owner = out.sum;
        }
        again.backward();
    });
    return kept;
}

}  // namespace sy::model
