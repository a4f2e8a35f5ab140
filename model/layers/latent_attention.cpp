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
    LatentAttention(LayerContext& shared, const std::string& name, const AttentionSpec& spec,
                    const Positions& positions)
        : shared_(shared),
          spec_(spec),
          positions_(positions),
          widths_(shared.config),
          key_value_down_(inner(name + ".key_value_down", {shared.config.hidden, widths_.cache()})),
          key_value_norm_(shared, name + ".key_value_norm", widths_.compressed),
          key_value_up_(inner(name + ".key_value_up", {widths_.compressed, widths_.expanded()})),
          query_(inner(name + ".query", {query_rank() > 0 ? query_rank() : shared.config.hidden,
                                         widths_.heads * widths_.key()})),
          output_(shared, name + ".output", {widths_.heads * widths_.value, shared.config.hidden},
                  output_deviation(shared.config), Bias::none) {
        if (query_rank() == 0) return;
        query_down_.emplace(inner(name + ".query_down", {shared.config.hidden, query_rank()}));
        query_norm_.emplace(shared, name + ".query_norm", query_rank());
    }

    Value& forward(Tape& tape, Value& x, const PassInfo& pass, const EncoderOutput* encoder) const override {
        SY_REQUIRE(encoder == nullptr, "attention: latent attention reads no encoder output");
        return bf16_model() ? run<bf16>(tape, x, pass) : run<float>(tape, x, pass);
    }

    KeyValueCache make_cache(index_t num_sequences, index_t capacity, const Context& context) const override {
        return {Tensor(context.arena, DType::f32, {num_sequences, capacity, widths_.cache()}), {}};
    }

    void decode(MatrixView<const float> x, index_t position, KeyValueCache& cache, MatrixView<float> out,
                const Context& context) const override {
        bf16_model() ? run_decode<bf16>(x, position, cache, out, context)
                     : run_decode<float>(x, position, cache, out, context);
    }

    KeyValueCache make_cross_cache(MatrixView<const float>, index_t, const Context&) const override {
        throw LogicError("attention: latent attention reads no encoder output");
    }
    void decode_cross(MatrixView<const float>, const KeyValueCache&, MatrixView<float>,
                      const Context&) const override {
        throw LogicError("attention: latent attention reads no encoder output");
    }

  private:
    /// What a pass keeps for backward.
    template <class In>
    struct Kept {
        PassInfo pass;
        ops::AttentionShape shape;
        ProductInput<In> input;
        std::optional<ProductInput<In>> query_input;       ///< [T, query rank] normalised, if compressed
        std::optional<ProductInput<In>> compressed_input;  ///< [T, C] normalised
        RowNorm::Saved raw_query, raw_compressed;
        Tensor q, k, v, out, lse;
        Tensor query_rows, compressed_rows;  ///< what the two inputs above are views of in a float32 model
    };

    bool bf16_model() const { return shared_.config.dtype == DType::bf16; }
    index_t query_rank() const { return shared_.config.attention.query_rank; }
    Projection inner(const std::string& name, Projection::Sides sides) const {
        return {shared_, name, sides, static_cast<float>(shared_.config.init_std), Bias::none};
    }
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
    template <class In>
    Compressed compress(MatrixView<const In> x, const Context& context) const {
        Compressed result{Tensor(context.arena, DType::f32, {x.rows, widths_.compressed}),
                          Tensor(context.arena, DType::f32, {x.rows, widths_.cache()})};
        const MatrixView<float> down = result.down.matrix<float>();
        key_value_down_.forward<In>(x, down, context);
        ops::copy(down.cols_of(widths_.compressed_cols()), result.rows.matrix<float>(), context);
        return result;
    }

    template <class In>
    Value& run(Tape& tape, Value& x, const PassInfo& pass) const {
        const Context& context = tape.context();
        const index_t rows = x.view().rows;
        const auto fresh = [&](index_t cols) { return Tensor(context.arena, DType::f32, {rows, cols}); };
        Kept<In> kept{pass,
                      shape_of(rows / pass.seq_len, pass.seq_len),
                      ProductInput<In>(x.view(), context),
                      {},
                      {},
                      {},
                      {},
                      fresh(widths_.heads * widths_.key()),
                      fresh(widths_.heads * widths_.key()),
                      fresh(widths_.heads * widths_.value),
                      fresh(widths_.heads * widths_.value),
                      fresh(widths_.heads),
                      {},
                      {}};
        kept.shape.dropout = attention_dropout(shared_.config, spec_, pass);
        const MatrixView<float> q = kept.q.template matrix<float>();
        if (query_down_) {
            Tensor down = fresh(query_rank());
            query_down_->forward<In>(kept.input.view(), down.matrix<float>(), context);
            kept.raw_query = query_norm_->forward(down.matrix<float>(), context);
            keep_rows(std::move(down), kept.query_input, kept.query_rows, context);
            query_.forward<In>(kept.query_input->view(), q, context);
        } else {
            query_.forward<In>(kept.input.view(), q, context);
        }
        positions_.rotate(q, query_heads(), pass.seq_len, ops::Direction::forward, context);
        Compressed compressed = compress<In>(kept.input.view(), context);
        kept.raw_compressed = key_value_norm_.forward(compressed.rows.matrix<float>(), context);
        keep_rows(std::move(compressed.rows), kept.compressed_input, kept.compressed_rows, context);
        const MatrixView<float> rotary = compressed.down.matrix<float>().cols_of(widths_.rotary_cols());
        positions_.rotate(rotary, widths_.rotary, pass.seq_len, ops::Direction::forward, context);
        Tensor expanded = fresh(widths_.expanded());
        key_value_up_.forward<In>(kept.compressed_input->view(), expanded.matrix<float>(), context);
        ops::spread_heads(widths_, expanded.matrix<float>(), rotary, kept.k.template matrix<float>(),
                          kept.v.template matrix<float>(), context);
        ops::attention(kept.shape, q, kept.k.template matrix<float>(), kept.v.template matrix<float>(),
                       kept.out.template matrix<float>(), kept.lse.template matrix<float>(), context);
        Value& y = tape.value(rows, shared_.config.hidden);
        const ProductInput<In> attended(kept.out.template matrix<float>(), context);
        output_.forward<In>(attended.view(), y.view(), context);
        tape.record([this, &x, &y, &context, kept = std::move(kept)]() mutable {
            run_backward<In>(x, y, kept, context);
        });
        return y;
    }

    /// Normalised rows as inputs of a product that outlive the call: float rows are owned beside their view.
    template <class In>
    static void keep_rows(Tensor rows, std::optional<ProductInput<In>>& input, Tensor& owner,
                          const Context& context) {
        owner = std::move(rows);
        input.emplace(owner.matrix<float>(), context);
    }

    template <class In>
    void run_backward(Value& x, Value& y, Kept<In>& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        const auto fresh = [&](index_t cols) {
            return Tensor(context.arena, DType::f32, {kept.q.shape()[0], cols});
        };
        Tensor dout = fresh(widths_.heads * widths_.value);
        const ProductInput<In> out(kept.out.template matrix<float>(), context);
        output_.backward<In>({out.view(), y.grad_view(), Write::overwrite, block}, dout.matrix<float>(),
                             context);
        Tensor dq = fresh(widths_.heads * widths_.key());
        Tensor dk = fresh(widths_.heads * widths_.key());
        Tensor dv = fresh(widths_.heads * widths_.value);
        ops::attention_backward(kept.shape,
                                {kept.q.template matrix<float>(), kept.k.template matrix<float>(),
                                 kept.v.template matrix<float>(), kept.out.template matrix<float>(),
                                 kept.lse.template matrix<float>(), dout.matrix<float>(), dq.matrix<float>(),
                                 dk.matrix<float>(), dv.matrix<float>()},
                                context);
        positions_.rotate(dq.matrix<float>(), query_heads(), block, ops::Direction::backward, context);
        back_query<In>(x, dq, kept, context);

        Tensor dexpanded = fresh(widths_.expanded());
        Tensor ddown = fresh(widths_.cache());
        const MatrixView<float> drotary = ddown.matrix<float>().cols_of(widths_.rotary_cols());
        ops::gather_heads(widths_, dk.matrix<float>(), dv.matrix<float>(), dexpanded.matrix<float>(), drotary,
                          context);
        positions_.rotate(drotary, widths_.rotary, block, ops::Direction::backward, context);
        Tensor dcompressed = fresh(widths_.compressed);
        key_value_up_.backward<In>(
            {kept.compressed_input->view(), dexpanded.matrix<float>(), Write::overwrite, block},
            dcompressed.matrix<float>(), context);
        key_value_norm_.backward(kept.raw_compressed, dcompressed.matrix<float>(), block, context);
        ops::copy(dcompressed.matrix<float>(), ddown.matrix<float>().cols_of(widths_.compressed_cols()),
                  context);
        key_value_down_.backward<In>(kept.input.view(), ddown.matrix<float>(), block, x, context);
    }

    template <class In>
    void back_query(Value& x, const Tensor& dq, Kept<In>& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        if (!query_down_) {
            query_.backward<In>(kept.input.view(), dq.matrix<float>(), block, x, context);
            return;
        }
        Tensor ddown(context.arena, DType::f32, {dq.shape()[0], query_rank()});
        query_.backward<In>({kept.query_input->view(), dq.matrix<float>(), Write::overwrite, block},
                            ddown.matrix<float>(), context);
        query_norm_->backward(kept.raw_query, ddown.matrix<float>(), block, context);
        query_down_->backward<In>(kept.input.view(), ddown.matrix<float>(), block, x, context);
    }

    /// Generation keeps [C, R] a token. A query is taken through the heads' key projection instead of every key, and
    /// the sum of compressed rows through their value projection: the products are the same, in another order.
    template <class In>
    void run_decode(MatrixView<const float> x, index_t position, KeyValueCache& cache, MatrixView<float> out,
                    const Context& context) const {
        const ProductInput<In> input(x, context);
        const Tensor q = decode_query<In>(input.view(), position, context);
        Compressed fresh = compress<In>(input.view(), context);
        key_value_norm_.apply(fresh.rows.matrix<float>(), context);
        const MatrixView<float> rotary = fresh.down.matrix<float>().cols_of(widths_.rotary_cols());
        positions_.rotate_at(rotary, widths_.rotary, position, context);
        const MatrixView<float> row = cached_row(cache.keys, position);
        ops::copy(fresh.rows.matrix<float>(), row.cols_of(widths_.compressed_cols()), context);
        ops::copy(rotary, row.cols_of(widths_.rotary_cols()), context);
        Tensor latent_q(context.arena, DType::f32, {x.rows, widths_.heads * widths_.cache()});
        Tensor latent_out(context.arena, DType::f32, {x.rows, widths_.heads * widths_.compressed});
        for (index_t h = 0; h < widths_.heads; ++h) absorb_query<In>(h, q, latent_q, context);
        ops::AttentionShape shape = shape_of(x.rows, 1);
        shape.kv_heads = 1;
        shape.head_dim = widths_.cache();
        shape.value_dim = widths_.compressed;
        const PerRow<index_t> lengths(x.rows, position + 1);
        ops::attention_decode(shape, latent_q, cache.keys, cache.keys, lengths, latent_out, context);
        Tensor attended(context.arena, DType::f32, {x.rows, widths_.heads * widths_.value});
        const ProductInput<In> latent(latent_out.matrix<float>(), context);
        for (index_t h = 0; h < widths_.heads; ++h) {
            const index_t first = h * (widths_.plain + widths_.value) + widths_.plain;
            ops::multiply<In>(
                {latent.view().cols_of({h * widths_.compressed, (h + 1) * widths_.compressed}),
                 ops::Transpose::no, key_value_up_.weight<In>().cols_of({first, first + widths_.value}),
                 ops::Transpose::no,
                 attended.matrix<float>().cols_of({h * widths_.value, (h + 1) * widths_.value})},
                context);
        }
        const ProductInput<In> rows(attended.matrix<float>(), context);
        output_.forward<In>(rows.view(), out, context);
    }

    template <class In>
    Tensor decode_query(MatrixView<const In> x, index_t position, const Context& context) const {
        Tensor q(context.arena, DType::f32, {x.rows, widths_.heads * widths_.key()});
        if (query_down_) {
            Tensor down(context.arena, DType::f32, {x.rows, query_rank()});
            query_down_->forward<In>(x, down.matrix<float>(), context);
            query_norm_->apply(down.matrix<float>(), context);
            const ProductInput<In> rows(down.matrix<float>(), context);
            query_.forward<In>(rows.view(), q.matrix<float>(), context);
        } else {
            query_.forward<In>(x, q.matrix<float>(), context);
        }
        positions_.rotate_at(q.matrix<float>(), query_heads(), position, context);
        return q;
    }

    /// Head h of the queries as it meets the cache: its plain part through the key projection, then its rotary part.
    template <class In>
    void absorb_query(index_t h, const Tensor& q, Tensor& latent, const Context& context) const {
        const MatrixView<const float> head =
            q.matrix<float>().cols_of({h * widths_.key(), (h + 1) * widths_.key()});
        const MatrixView<float> to =
            latent.matrix<float>().cols_of({h * widths_.cache(), (h + 1) * widths_.cache()});
        const ProductInput<In> plain(head.cols_of({0, widths_.plain}), context);
        const index_t first = h * (widths_.plain + widths_.value);
        ops::multiply<In>({plain.view(), ops::Transpose::no,
                           key_value_up_.weight<In>().cols_of({first, first + widths_.plain}),
                           ops::Transpose::yes, to.cols_of(widths_.compressed_cols())},
                          context);
        ops::copy(head.cols_of({widths_.plain, widths_.key()}), to.cols_of(widths_.rotary_cols()), context);
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

std::unique_ptr<AttentionLayer> make_latent_attention(LayerContext& shared, const std::string& name,
                                                      const AttentionSpec& spec, const Positions& positions) {
    return std::make_unique<LatentAttention>(shared, name, spec, positions);
}

}  // namespace sy::model
