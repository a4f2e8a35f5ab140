#include <optional>

#include "kernels/core/indexed.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/pointwise/pointwise.hpp"
#include "model/layers/attention.hpp"
#include "model/layers/projection.hpp"
#include "model/layers/row_norm.hpp"

namespace sy::model {
namespace {

class GroupedAttention : public AttentionLayer {
  public:
    GroupedAttention(LayerContext& shared, const AttentionSpec& spec, const Positions& positions)
        : shared_(shared),
          spec_(spec),
          positions_(positions),
          query_(shared, spec.key, Role::query),
          key_(shared, spec.key, Role::key),
          value_(shared, spec.key, Role::value),
          output_(shared, spec.key, Role::output) {
        if (shared.config.attention.qk_norm == QkNorm::none) return;
        query_norm_.emplace(shared, spec.key, Role::query_norm);
        key_norm_.emplace(shared, spec.key, Role::key_norm);
    }

    Value& forward(Tape& tape, Value& x, const PassInfo& pass, const EncoderOutput* encoder) const override {
        const Context& context = tape.context();
        SY_REQUIRE((encoder != nullptr) == cross(), "attention: the encoder output for ",
                   cross() ? "cross" : "self", "-attention is ", encoder != nullptr ? "there" : "missing");
        const index_t rows = x.ref().rows();
        const index_t key_len = cross() ? encoder->seq_len : pass.seq_len;
        Kept kept{.pass = pass,
                  .shape = shape_of(rows / pass.seq_len, pass.seq_len, key_len),
                  .input = ProductInput(x.ref(), dtype(), context)};
        if (cross()) kept.encoder = ProductInput(encoder->value->ref(), dtype(), context);
        kept.shape.dropout = attention_dropout(shared_.config, spec_, pass);
        if (!cross()) kept.shape.first_keys = pass.batch.document_begins;
        const ConstTensorRef source = kept.source(cross());
        kept.q = query_.forward(kept.input.ref(), context);
        kept.k = key_.forward(source, context);
        kept.v = value_.forward(source, context);
        const TensorRef q = kept.q;
        const TensorRef k = kept.k;
        if (query_norm_) {
            kept.raw_q = query_norm_->forward(q, context);
            kept.raw_k = key_norm_->forward(k, context);
        }
        if (clip() > 0.0F) clip_kept(kept, context);
        rotate(q, pass.seq_len, ops::Direction::forward, context);
        rotate(k, key_len, ops::Direction::forward, context);
        kept.out = Tensor(context.device, DType::f32, kept.q.shape());
        kept.lse = Tensor(context.device, DType::f32, {rows, shared_.config.heads});
        ops::attention(kept.shape, q, k, kept.v, kept.out, kept.lse, context);
        Value& y = tape.value(rows, shared_.config.hidden);
        output_.forward(kept.out, y.ref(), context);
        Value* const source_value = cross() ? encoder->value : &x;
        tape.record([this, &x, &y, &context, source_value, kept = std::move(kept)]() mutable {
            run_backward(x, y, *source_value, kept, context);
        });
        return y;
    }

    KeyValueCache make_cache(index_t num_slots, index_t capacity, const Context& context) const override {
        const Shape shape{num_slots, capacity, kv_width()};
        return {Tensor(context.device, DType::f32, shape), Tensor(context.device, DType::f32, shape)};
    }

    void extend(ConstTensorRef x, const CacheRows& rows, KeyValueCache& cache, TensorRef out,
                const Context& context) const override {
        const ProductInput input(x, dtype(), context);
        Tensor q = query_.forward(input.ref(), context);
        Tensor k = key_.forward(input.ref(), context);
        Tensor v = value_.forward(input.ref(), context);
        if (query_norm_) {
            query_norm_->apply(q, context);
            key_norm_->apply(k, context);
        }
        for (Tensor* const projection : {&q, &k, &v}) clip_rows(*projection, context);
        positions_.rotate_at(q, shared_.config.head_width(), rows.positions(), context);
        positions_.rotate_at(k, shared_.config.head_width(), rows.positions(), context);
        store_rows(k, rows, cache.keys, {0, kv_width()}, context);
        store_rows(v, rows, cache.values, {0, kv_width()}, context);
        if (!rows.is_prompt()) return attend_cache(q, rows.slots(), rows.lengths(), cache, out, context);
        Tensor attended(context.device, DType::f32, q.shape());
        Tensor lse(context.device, DType::f32, {rows.size(), shared_.config.heads});
        ops::attention(shape_of(1, rows.size(), 0), q, k, v, attended, lse, context);
        output_.forward(attended, out, context);
    }

    KeyValueCache make_cross_cache(ConstTensorRef encoder, index_t seq_len,
                                   const Context& context) const override {
        KeyValueCache cache = make_cache(encoder.rows() / seq_len, seq_len, context);
        const ProductInput input(encoder, dtype(), context);
        const TensorRef k = cache.keys;
        key_.forward(input.ref(), k, context);
        value_.forward(input.ref(), cache.values, context);
        if (key_norm_) key_norm_->apply(k, context);
        clip_rows(k, context);
        clip_rows(cache.values.ref(), context);
        return cache;
    }

    void extend_cross(ConstTensorRef x, const CacheRows& rows, const KeyValueCache& cache, TensorRef out,
                      const Context& context) const override {
        Tensor q = query_.forward(x, context);
        if (query_norm_) query_norm_->apply(q, context);
        clip_rows(q, context);
        const PerRow<index_t> lengths(rows.size(), cache.keys.shape()[1]);
        attend_cache(q, rows.host_slots(), lengths, cache, out, context);
    }

  private:
    /// What a pass keeps for backward.
    struct Kept {
        PassInfo pass;
        ops::AttentionShape shape;
        ProductInput input;
        ProductInput encoder = {};  ///< the encoder output, of cross-attention
        Tensor q = {}, k = {}, v = {}, out = {}, lse = {};
        RowNorm::Saved raw_q = {}, raw_k = {};
        Tensor clipped_q = {};  ///< before it is rotated; empty without attention.clip_qkv
        Tensor clipped_k = {};

        /// What keys and values are made of.
        ConstTensorRef source(bool cross) const { return cross ? encoder.ref() : input.ref(); }
    };

    DType dtype() const { return shared_.config.dtype; }
    float clip() const { return static_cast<float>(shared_.config.attention.clip_qkv); }
    void clip_rows(TensorRef x, const Context& context) const {
        if (clip() > 0.0F) ops::clip(x, clip(), context);
    }
    /// Clips queries, keys and values, and keeps what shows later where they were stopped.
    void clip_kept(Kept& kept, const Context& context) const {
        for (Tensor* const projection : {&kept.q, &kept.k, &kept.v}) clip_rows(*projection, context);
        kept.clipped_q = Tensor(context.device, DType::f32, kept.q.shape());
        kept.clipped_k = Tensor(context.device, DType::f32, kept.k.shape());
        ops::copy(kept.q, kept.clipped_q, context);
        ops::copy(kept.k, kept.clipped_k, context);
    }
    index_t kv_width() const { return shared_.config.kv_heads * shared_.config.head_width(); }

    ops::AttentionShape shape_of(index_t num_sequences, index_t seq_len, index_t key_len) const {
        const ModelConfig& config = shared_.config;
        ops::AttentionShape shape = attention_shape(config, spec_, positions_, config.head_width());
        shape.num_sequences = num_sequences;
        shape.seq_len = seq_len;
        shape.kv_heads = config.kv_heads;
        shape.key_len = key_len;
        if (!cross()) shape.bias = positions_.bias();
        return shape;
    }
    bool cross() const { return spec_.is_cross(); }

    void rotate(TensorRef x, index_t seq_len, ops::Direction direction, const Context& context) const {
        if (!cross()) positions_.rotate(x, shared_.config.head_width(), seq_len, direction, context);
    }

    void run_backward(Value& x, Value& y, Value& source, Kept& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        const index_t key_block = kept.shape.num_keys();
        const Tensor dout = output_.backward(kept.out, y.grad_ref(), block, context);
        Tensor dq(context.device, DType::f32, kept.q.shape());
        Tensor dk(context.device, DType::f32, kept.k.shape());
        Tensor dv(context.device, DType::f32, kept.v.shape());
        ops::AttentionBackward operands{kept.q, kept.k, kept.v, kept.out, kept.lse, dout, dq, dk, dv};
        if (!cross()) operands.dtable = positions_.table_gradient();
        ops::attention_backward(kept.shape, operands, context);
        if (!cross() && spec_.layer_idx == 0) positions_.table_ready();
        rotate(dq, block, ops::Direction::backward, context);
        rotate(dk, key_block, ops::Direction::backward, context);
        if (clip() > 0.0F) {
            ops::clip_backward(kept.clipped_q, clip(), dq, context);
            ops::clip_backward(kept.clipped_k, clip(), dk, context);
            ops::clip_backward(kept.v, clip(), dv, context);
        }
        if (query_norm_) {
            query_norm_->backward(kept.raw_q, dq, block, context);
            key_norm_->backward(kept.raw_k, dk, key_block, context);
        }
        query_.backward(kept.input.ref(), dq, block, x, context);
        key_.backward(kept.source(cross()), dk, key_block, source, context);
        value_.backward(kept.source(cross()), dv, key_block, source, context);
    }

    /// Attention of each query over the first rows of its slot's cache, and the output projection.
    void attend_cache(const Tensor& q, const List<index_t>& slots, const List<index_t>& lengths,
                      const KeyValueCache& cache, TensorRef out, const Context& context) const {
        Tensor attended(context.device, DType::f32, q.shape());
        ops::attention_decode(shape_of(slots.size(), 1, 0), q, cache.keys, cache.values,
                              {slots, lengths, cache.keys.shape()[1]}, attended, context);
        output_.forward(attended, out, context);
    }

    LayerContext& shared_;
    AttentionSpec spec_;
    const Positions& positions_;
    Projection query_;
    Projection key_;
    Projection value_;
    Projection output_;
    std::optional<RowNorm> query_norm_;
    std::optional<RowNorm> key_norm_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_grouped_attention(LayerContext& shared, const AttentionSpec& spec,
                                                       const Positions& positions) {
    return std::make_unique<GroupedAttention>(shared, spec, positions);
}

}  // namespace sy::model
