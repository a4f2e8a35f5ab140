#include <optional>

#include "kernels/core/indexed.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/heads/heads.hpp"
#include "model/layers/attention.hpp"
#include "model/layers/projection.hpp"
#include "model/layers/row_norm.hpp"

/// Widths of a head as in ops/heads: N not rotated, R rotated, V of values; C is that of the compressed row.
namespace sy::model {
namespace {

struct Widths : ops::HeadWidths {
    index_t compressed;

    explicit Widths(const ModelConfig& config)
        : HeadWidths{config.heads, config.head_width(), config.attention.rope_dim,
                     config.attention.value_dim > 0 ? config.attention.value_dim : config.head_width()},
          compressed(config.attention.kv_rank) {}
    index_t cache() const { return compressed + rotary; }
    /// Columns of a cached row: compressed, then rotary.
    Range compressed_cols() const { return {0, compressed}; }
    Range rotary_cols() const { return {compressed, cache()}; }
};

class LatentAttention : public AttentionLayer {
  public:
    LatentAttention(LayerContext& shared, const AttentionSpec& spec, const Positions& positions)
        : shared_(shared),
          spec_(spec),
          positions_(positions),
          widths_(shared.config),
          key_value_down_(shared, spec.key, Role::key_value_down),
          key_value_norm_(shared, spec.key, Role::key_value_norm),
          key_value_up_(shared, spec.key, Role::key_value_up),
          query_(shared, spec.key, Role::query),
          output_(shared, spec.key, Role::output) {
        if (query_rank() == 0) return;
        query_down_.emplace(shared, spec.key, Role::query_down);
        query_norm_.emplace(shared, spec.key, Role::query_norm);
    }

    Value& forward(Tape& tape, Value& x, const PassInfo& pass, const EncoderOutput* encoder) const override {
        SY_REQUIRE(encoder == nullptr, "attention: latent attention reads no encoder output");
        const Context& context = tape.context();
        const index_t rows = x.ref().rows();
        const auto fresh = [&](index_t cols) { return Tensor(context.device, DType::f32, {rows, cols}); };
        Kept kept{.pass = pass,
                  .shape = shape_of(rows / pass.seq_len, pass.seq_len),
                  .input = ProductInput(x.ref(), dtype(), context),
                  .k = fresh(widths_.heads * widths_.key()),
                  .v = fresh(widths_.heads * widths_.value),
                  .out = fresh(widths_.heads * widths_.value),
                  .lse = fresh(widths_.heads)};
        kept.shape.dropout = attention_dropout(shared_.config, spec_, pass);
        kept.shape.first_keys = pass.batch.document_begins;
        if (query_down_) {
            Tensor down = query_down_->forward(kept.input.ref(), context);
            kept.raw_query = query_norm_->forward(down, context);
            kept.query_input = ProductInput(std::move(down), dtype(), context);
        }
        kept.q = query_.forward((query_down_ ? kept.query_input : kept.input).ref(), context);
        const TensorRef q = kept.q;
        positions_.rotate(q, query_heads(), pass.seq_len, ops::Direction::forward, context);
        Compressed compressed = compress(kept.input.ref(), context);
        kept.raw_compressed = key_value_norm_.forward(compressed.rows, context);
        kept.compressed_input = ProductInput(std::move(compressed.rows), dtype(), context);
        const TensorRef rotary = compressed.down.ref().cols_of(widths_.rotary_cols());
        positions_.rotate(rotary, widths_.rotary, pass.seq_len, ops::Direction::forward, context);
        const Tensor expanded = key_value_up_.forward(kept.compressed_input.ref(), context);
        ops::spread_heads(widths_, expanded, rotary, kept.k, kept.v, context);
        ops::attention(kept.shape, q, kept.k, kept.v, kept.out, kept.lse, context);
        Value& y = tape.value(rows, shared_.config.hidden);
        output_.forward(kept.out, y.ref(), context);
        tape.record([this, &x, &y, &context, kept = std::move(kept)]() mutable {
            run_backward(x, y, kept, context);
        });
        return y;
    }

    KeyValueCache make_cache(index_t num_slots, index_t capacity, const Context& context) const override {
        return {Tensor(context.device, DType::f32, {num_slots, capacity, widths_.cache()}), {}};
    }

    /// Generation keeps [C, R] a token. A query is taken through the heads' key projection instead of every key, and
    /// the sum of compressed rows through their value projection: the products are the same, in another order. A prompt
    /// goes the same way as later tokens do, so that both have the same bits.
    void extend(ConstTensorRef x, const CacheRows& rows, KeyValueCache& cache, TensorRef out,
                const Context& context) const override {
        const ProductInput input(x, dtype(), context);
        const Tensor q = extending_query(input.ref(), rows, context);
        Compressed fresh = compress(input.ref(), context);
        key_value_norm_.apply(fresh.rows, context);
        const TensorRef keys = fresh.down;
        positions_.rotate_at(keys.cols_of(widths_.rotary_cols()), widths_.rotary, rows.positions(), context);
        ops::copy(fresh.rows, keys.cols_of(widths_.compressed_cols()), context);
        store_rows(keys, rows, cache.keys, {0, widths_.cache()}, context);
        Tensor latent_q(context.device, DType::f32, {x.rows(), widths_.heads * widths_.cache()});
        Tensor latent_out(context.device, DType::f32, {x.rows(), widths_.heads * widths_.compressed});
        for (index_t h = 0; h < widths_.heads; ++h) absorb_query(h, q, latent_q, context);
        ops::AttentionShape shape = shape_of(1, x.rows());
        shape.kv_heads = 1;
        shape.head_dim = widths_.cache();
        shape.value_dim = widths_.compressed;
        if (rows.is_prompt()) {
            Tensor lse(context.device, DType::f32, {x.rows(), widths_.heads});
            ops::attention(shape, latent_q, keys, fresh.rows, latent_out, lse, context);
        } else {
            ops::attention_decode(shape, latent_q, cache.keys, cache.keys,
                                  {rows.slots(), rows.lengths(), cache.keys.shape()[1]}, latent_out, context);
        }
        project(latent_out, out, context);
    }

    KeyValueCache make_cross_cache(ConstTensorRef, index_t, const Context&) const override {
        throw LogicError("attention: latent attention reads no encoder output");
    }
    void extend_cross(ConstTensorRef, const CacheRows&, const KeyValueCache&, TensorRef,
                      const Context&) const override {
        throw LogicError("attention: latent attention reads no encoder output");
    }

  private:
    /// What a pass keeps for backward.
    struct Kept {
        PassInfo pass;
        ops::AttentionShape shape;
        ProductInput input;
        Tensor q = {};
        Tensor k, v, out, lse;
        ProductInput query_input = {};       ///< [T, query rank] normalised, if compressed
        ProductInput compressed_input = {};  ///< [T, C] normalised
        RowNorm::Saved raw_query = {}, raw_compressed = {};
    };

    DType dtype() const { return shared_.config.dtype; }
    index_t query_rank() const { return shared_.config.attention.query_rank; }
    ops::RotaryHeads query_heads() const { return {widths_.key(), widths_.plain}; }

    ops::AttentionShape shape_of(index_t num_sequences, index_t seq_len) const {
        ops::AttentionShape shape = attention_shape(shared_.config, spec_, positions_, widths_.key());
        shape.num_sequences = num_sequences;
        shape.seq_len = seq_len;
        shape.kv_heads = widths_.heads;
        shape.value_dim = widths_.value;
        return shape;
    }

    /// Compressed rows (before their norm), and beside them the keys' rotary part (before its rotation).
    struct Compressed {
        Tensor rows;  ///< [T, C]
        Tensor down;  ///< [T, C + R]
    };
    Compressed compress(ConstTensorRef x, const Context& context) const {
        Compressed result{Tensor(context.device, DType::f32, {x.rows(), widths_.compressed}),
                          key_value_down_.forward(x, context)};
        ops::copy(result.down.ref().cols_of(widths_.compressed_cols()), result.rows, context);
        return result;
    }

    void run_backward(Value& x, Value& y, Kept& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        const auto fresh = [&](index_t cols) {
            return Tensor(context.device, DType::f32, {kept.q.shape()[0], cols});
        };
        const Tensor dout = output_.backward(kept.out, y.grad_ref(), block, context);
        Tensor dq = fresh(widths_.heads * widths_.key());
        Tensor dk = fresh(widths_.heads * widths_.key());
        Tensor dv = fresh(widths_.heads * widths_.value);
        ops::attention_backward(kept.shape, {kept.q, kept.k, kept.v, kept.out, kept.lse, dout, dq, dk, dv},
                                context);
        positions_.rotate(dq, query_heads(), block, ops::Direction::backward, context);
        query_backward(x, dq, kept, context);

        Tensor dexpanded = fresh(widths_.expanded());
        Tensor ddown = fresh(widths_.cache());
        const TensorRef drotary = ddown.ref().cols_of(widths_.rotary_cols());
        ops::gather_heads(widths_, dk, dv, dexpanded, drotary, context);
        positions_.rotate(drotary, widths_.rotary, block, ops::Direction::backward, context);
        Tensor dcompressed = key_value_up_.backward(kept.compressed_input.ref(), dexpanded, block, context);
        key_value_norm_.backward(kept.raw_compressed, dcompressed, block, context);
        ops::copy(dcompressed, ddown.ref().cols_of(widths_.compressed_cols()), context);
        key_value_down_.backward(kept.input.ref(), ddown, block, x, context);
    }

    void query_backward(Value& x, const Tensor& dq, Kept& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        if (!query_down_) {
            query_.backward(kept.input.ref(), dq, block, x, context);
            return;
        }
        Tensor ddown = query_.backward(kept.query_input.ref(), dq, block, context);
        query_norm_->backward(kept.raw_query, ddown, block, context);
        query_down_->backward(kept.input.ref(), ddown, block, x, context);
    }

    Tensor extending_query(ConstTensorRef x, const CacheRows& new_rows, const Context& context) const {
        Tensor down;
        if (query_down_) {
            down = query_down_->forward(x, context);
            query_norm_->apply(down, context);
        }
        Tensor q = query_.forward(query_down_ ? down.ref() : x, context);
        positions_.rotate_at(q, query_heads(), new_rows.positions(), context);
        return q;
    }

    /// Head h of the queries as it meets the cache: its plain part through the key projection, then its rotary part.
    void absorb_query(index_t h, const Tensor& q, Tensor& latent, const Context& context) const {
        const ConstTensorRef head = q.ref().cols_of({h * widths_.key(), (h + 1) * widths_.key()});
        const TensorRef to = latent.ref().cols_of({h * widths_.cache(), (h + 1) * widths_.cache()});
        const ProductInput plain(head.cols_of({0, widths_.plain}), dtype(), context);
        const index_t first = h * (widths_.plain + widths_.value);
        ops::multiply(
            {plain.ref(), ops::Transpose::no, key_value_up_.weight().cols_of({first, first + widths_.plain}),
             ops::Transpose::yes, to.cols_of(widths_.compressed_cols())},
            context);
        ops::copy(head.cols_of({widths_.plain, widths_.key()}), to.cols_of(widths_.rotary_cols()), context);
    }

    /// Sums of compressed rows, a head each, through the heads' value projection and the output projection.
    void project(const Tensor& latent_out, TensorRef out, const Context& context) const {
        Tensor attended(context.device, DType::f32, {out.rows(), widths_.heads * widths_.value});
        const ProductInput latent(latent_out, dtype(), context);
        for (index_t h = 0; h < widths_.heads; ++h) {
            const index_t first = h * (widths_.plain + widths_.value) + widths_.plain;
            ops::multiply(
                {latent.ref().cols_of({h * widths_.compressed, (h + 1) * widths_.compressed}),
                 ops::Transpose::no, key_value_up_.weight().cols_of({first, first + widths_.value}),
                 ops::Transpose::no, attended.ref().cols_of({h * widths_.value, (h + 1) * widths_.value})},
                context);
        }
        output_.forward(attended, out, context);
    }

    LayerContext& shared_;
    AttentionSpec spec_;
    const Positions& positions_;
    Widths widths_;
    Projection key_value_down_;
    RowNorm key_value_norm_;
    Projection key_value_up_;
    Projection query_;
    Projection output_;
    std::optional<Projection> query_down_;
    std::optional<RowNorm> query_norm_;
};

}  // namespace

std::unique_ptr<AttentionLayer> make_latent_attention(LayerContext& shared, const AttentionSpec& spec,
                                                      const Positions& positions) {
    return std::make_unique<LatentAttention>(shared, spec, positions);
}

}  // namespace sy::model
