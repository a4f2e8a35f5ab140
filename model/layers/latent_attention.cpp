#include <cmath>
#include <cstring>
#include <optional>

#include "kernels/ops/gemm/gemm.hpp"
#include "model/layers/attention.hpp"
#include "model/layers/projection.hpp"
#include "model/layers/row_norm.hpp"

/// Widths of a head: N not rotated, R rotated, V of values; C the compressed row. A query or key is N then R.
namespace sy::model {
namespace {

struct Widths {
    index_t heads, plain, rotary, value, compressed;

    explicit Widths(const ModelConfig& config)
        : heads(config.heads),
          plain(config.head_width()),
          rotary(config.attention.rope_dim),
          value(config.attention.value_dim > 0 ? config.attention.value_dim : config.head_width()),
          compressed(config.attention.kv_rank) {}
    index_t key() const { return plain + rotary; }
    index_t cache() const { return compressed + rotary; }
    /// Of the row that every head's key and value are projected to: [N, V] a head.
    index_t expanded() const { return heads * (plain + value); }
};

void copy(const float* from, index_t count, float* to) {
    std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

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

    Value& forward(Tape& tape, Value& x, const PassInfo& pass, const Memory* memory) const override {
        SY_REQUIRE(memory == nullptr, "attention: latent attention reads no memory");
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

    KeyValueCache remember(MatrixView<const float>, index_t, const Context&) const override {
        throw LogicError("attention: latent attention reads no memory");
    }
    void decode_memory(MatrixView<const float>, const KeyValueCache&, MatrixView<float>,
                       const Context&) const override {
        throw LogicError("attention: latent attention reads no memory");
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

    float scale() const {
        const double chosen = shared_.config.attention.scale;
        const double usual = 1.0 / std::sqrt(static_cast<double>(widths_.key()));
        return static_cast<float>((chosen > 0.0 ? chosen : usual) * positions_.score_factor());
    }

    ops::AttentionShape shape_of(index_t num_sequences, index_t seq_len) const {
        ops::AttentionShape shape;
        shape.num_sequences = num_sequences;
        shape.seq_len = seq_len;
        shape.heads = shape.kv_heads = widths_.heads;
        shape.head_dim = widths_.key();
        shape.value_dim = widths_.value;
        shape.scale = scale();
        shape.visibility = spec_.visibility;
        shape.window = spec_.window;
        shape.soft_cap = static_cast<float>(shared_.config.attention.softcap);
        return shape;
    }

    /// Keys and values of every head from the expanded rows [T, heads * (N + V)] and the shared rotary part.
    void spread(MatrixView<const float> expanded, MatrixView<const float> rotary, MatrixView<float> k,
                MatrixView<float> v, const Context& context) const {
        context.team.for_ranges(k.rows, 8, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t) {
                for (index_t h = 0; h < widths_.heads; ++h) {
                    const float* const from = expanded.row(t) + h * (widths_.plain + widths_.value);
                    copy(from, widths_.plain, k.row(t) + h * widths_.key());
                    copy(rotary.row(t), widths_.rotary, k.row(t) + h * widths_.key() + widths_.plain);
                    copy(from + widths_.plain, widths_.value, v.row(t) + h * widths_.value);
                }
            }
        });
    }

    /// Backward of spread: rotary gradients of the heads are added in ascending order.
    void gather(MatrixView<const float> dk, MatrixView<const float> dv, MatrixView<float> dexpanded,
                MatrixView<float> drotary, const Context& context) const {
        context.team.for_ranges(dk.rows, 8, [&](index_t begin, index_t end) {
            for (index_t t = begin; t < end; ++t) {
                float* const shared = drotary.row(t);
                std::fill_n(shared, widths_.rotary, 0.0F);
                for (index_t h = 0; h < widths_.heads; ++h) {
                    float* const to = dexpanded.row(t) + h * (widths_.plain + widths_.value);
                    const float* const key = dk.row(t) + h * widths_.key();
                    copy(key, widths_.plain, to);
                    copy(dv.row(t) + h * widths_.value, widths_.value, to + widths_.plain);
                    for (index_t i = 0; i < widths_.rotary; ++i) shared[i] += key[widths_.plain + i];
                }
            }
        });
    }

    /// Splits [T, C + R] into contiguous compressed and rotary parts.
    void split(MatrixView<const float> down, MatrixView<float> compressed, MatrixView<float> rotary) const {
        for (index_t t = 0; t < down.rows; ++t) {
            copy(down.row(t), widths_.compressed, compressed.row(t));
            copy(down.row(t) + widths_.compressed, widths_.rotary, rotary.row(t));
        }
    }

    /// Compressed rows (before their norm) and the keys' rotary part (before its rotation).
    struct Compressed {
        Tensor rows;    ///< [T, C]
        Tensor rotary;  ///< [T, R]
    };
    template <class In>
    Compressed compress(MatrixView<const In> x, const Context& context) const {
        Tensor down(context.arena, DType::f32, {x.rows, widths_.cache()});
        key_value_down_.forward<In>(x, down.matrix<float>(), context);
        Compressed result{Tensor(context.arena, DType::f32, {x.rows, widths_.compressed}),
                          Tensor(context.arena, DType::f32, {x.rows, widths_.rotary})};
        split(std::as_const(down).template matrix<float>(), result.rows.matrix<float>(),
              result.rotary.matrix<float>());
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
        if (pass.training() && shared_.config.attention.dropout > 0.0) {
            kept.shape.dropout = {static_cast<float>(shared_.config.attention.dropout),
                                  pass.random(spec_.stream_idx, RandomPurpose::attention_dropout),
                                  pass.batch.first_token};
        }
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
        positions_.rotate(compressed.rotary.matrix<float>(), widths_.rotary, pass.seq_len,
                          ops::Direction::forward, context);
        Tensor expanded = fresh(widths_.expanded());
        key_value_up_.forward<In>(kept.compressed_input->view(), expanded.matrix<float>(), context);
        spread(std::as_const(expanded).template matrix<float>(),
               std::as_const(compressed.rotary).template matrix<float>(), kept.k.template matrix<float>(),
               kept.v.template matrix<float>(), context);
        ops::attention(kept.shape, q, kept.k.template matrix<float>(), kept.v.template matrix<float>(),
                       kept.out.template matrix<float>(), kept.lse.template matrix<float>(), context);
        Value& y = tape.value(rows, shared_.config.hidden);
        const ProductInput<In> attended(std::as_const(kept.out).template matrix<float>(), context);
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
        input.emplace(std::as_const(owner).template matrix<float>(), context);
    }

    template <class In>
    void run_backward(Value& x, Value& y, Kept<In>& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        const auto fresh = [&](index_t cols) {
            return Tensor(context.arena, DType::f32, {kept.q.shape()[0], cols});
        };
        Tensor dout = fresh(widths_.heads * widths_.value);
        const ProductInput<In> out(std::as_const(kept.out).template matrix<float>(), context);
        output_.backward<In>({out.view(), y.grad_view(), 0.0F, block}, dout.matrix<float>(), context);
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
        Tensor drotary = fresh(widths_.rotary);
        gather(std::as_const(dk).template matrix<float>(), std::as_const(dv).template matrix<float>(),
               dexpanded.matrix<float>(), drotary.matrix<float>(), context);
        positions_.rotate(drotary.matrix<float>(), widths_.rotary, block, ops::Direction::backward, context);
        Tensor dcompressed = fresh(widths_.compressed);
        key_value_up_.backward<In>(
            {kept.compressed_input->view(), std::as_const(dexpanded).template matrix<float>(), 0.0F, block},
            dcompressed.matrix<float>(), context);
        key_value_norm_.backward(kept.raw_compressed, dcompressed.matrix<float>(), block, context);
        Tensor ddown = fresh(widths_.cache());
        for (index_t t = 0; t < ddown.shape()[0]; ++t) {
            float* const to = ddown.matrix<float>().row(t);
            copy(dcompressed.matrix<float>().row(t), widths_.compressed, to);
            copy(drotary.matrix<float>().row(t), widths_.rotary, to + widths_.compressed);
        }
        const float beta = x.open_gradient(context);
        key_value_down_.backward<In>(
            {kept.input.view(), std::as_const(ddown).template matrix<float>(), beta, block},
            x.grad.matrix<float>(), context);
    }

    template <class In>
    void back_query(Value& x, const Tensor& dq, Kept<In>& kept, const Context& context) const {
        const index_t block = kept.pass.seq_len;
        if (!query_down_) {
            const float beta = x.open_gradient(context);
            query_.backward<In>({kept.input.view(), dq.matrix<float>(), beta, block}, x.grad.matrix<float>(),
                                context);
            return;
        }
        Tensor ddown(context.arena, DType::f32, {dq.shape()[0], query_rank()});
        query_.backward<In>({kept.query_input->view(), dq.matrix<float>(), 0.0F, block},
                            ddown.matrix<float>(), context);
        query_norm_->backward(kept.raw_query, ddown.matrix<float>(), block, context);
        const float beta = x.open_gradient(context);
        query_down_->backward<In>(
            {kept.input.view(), std::as_const(ddown).template matrix<float>(), beta, block},
            x.grad.matrix<float>(), context);
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
        positions_.rotate_at(fresh.rotary.matrix<float>(), widths_.rotary, position, context);
        const TensorView3<float> caches(cache.keys.values<float>().data(), x.rows, cache.keys.shape()[1],
                                        widths_.cache());
        for (index_t b = 0; b < x.rows; ++b) {
            float* const row = caches[b].row(position);
            copy(fresh.rows.matrix<float>().row(b), widths_.compressed, row);
            copy(fresh.rotary.matrix<float>().row(b), widths_.rotary, row + widths_.compressed);
        }
        Tensor latent_q(context.arena, DType::f32, {x.rows, widths_.heads * widths_.cache()});
        Tensor latent_out(context.arena, DType::f32, {x.rows, widths_.heads * widths_.compressed});
        for (index_t h = 0; h < widths_.heads; ++h) absorb_query<In>(h, q, latent_q, context);
        ops::AttentionShape shape = shape_of(x.rows, 1);
        shape.kv_heads = 1;
        shape.head_dim = widths_.cache();
        shape.value_dim = widths_.compressed;
        const std::vector<index_t> lengths(static_cast<std::size_t>(x.rows), position + 1);
        ops::attention_decode(shape, std::as_const(latent_q).template matrix<float>(), caches, caches,
                              lengths, latent_out.matrix<float>(), context);
        Tensor attended(context.arena, DType::f32, {x.rows, widths_.heads * widths_.value});
        const ProductInput<In> latent(std::as_const(latent_out).template matrix<float>(), context);
        for (index_t h = 0; h < widths_.heads; ++h) {
            const index_t first = h * (widths_.plain + widths_.value) + widths_.plain;
            ops::multiply<In>(
                {latent.view().cols_of({h * widths_.compressed, (h + 1) * widths_.compressed}),
                 ops::Transpose::no, key_value_up_.weight<In>().cols_of({first, first + widths_.value}),
                 ops::Transpose::no,
                 attended.matrix<float>().cols_of({h * widths_.value, (h + 1) * widths_.value}), 0.0F},
                context);
        }
        const ProductInput<In> rows(std::as_const(attended).template matrix<float>(), context);
        output_.forward<In>(rows.view(), out, context);
    }

    template <class In>
    Tensor decode_query(MatrixView<const In> x, index_t position, const Context& context) const {
        Tensor q(context.arena, DType::f32, {x.rows, widths_.heads * widths_.key()});
        if (query_down_) {
            Tensor down(context.arena, DType::f32, {x.rows, query_rank()});
            query_down_->forward<In>(x, down.matrix<float>(), context);
            query_norm_->apply(down.matrix<float>(), context);
            const ProductInput<In> rows(std::as_const(down).template matrix<float>(), context);
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
                           ops::Transpose::yes, to.cols_of({0, widths_.compressed}), 0.0F},
                          context);
        for (index_t b = 0; b < head.rows; ++b)
            copy(head.row(b) + widths_.plain, widths_.rotary, to.row(b) + widths_.compressed);
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
