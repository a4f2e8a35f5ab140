#include <utility>

#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

class SequenceLoss : public RouterLoss {
  public:
    explicit SequenceLoss(const MoeConfig& config)
        : coefficient_(config.balance.sequence_loss), experts_(config.experts), top_k_(config.top_k) {}

    std::string name() const override { return "sequence_loss"; }
    double coefficient() const override { return coefficient_; }
    /// The terms of all sequences, and how many sequences there are.
    index_t num_sums() const override { return 2; }

    void add_sums(const RoutedBatch& routed, std::span<ExactSum> sums) const override {
        const MatrixView<const float> scores = routed.scores();
        const std::vector<double> share = shares(routed);
        std::vector<double> value(static_cast<std::size_t>(num_sequences(routed)), 0.0);
        for_sequences(routed, [&](index_t sequence, Range tokens) {
            const double* const f = share.data() + sequence * experts_;
            double& sum = value[static_cast<std::size_t>(sequence)];
            for (index_t t = tokens.begin; t < tokens.end; ++t)
                sum += weighted(scores.row(t), f) * routed.share_of_score(t);
            sum /= static_cast<double>(tokens.size());
        });
        for (const double of_sequence : value) sums[0].add(of_sequence);
        sums[1].add(static_cast<double>(num_sequences(routed)));
    }

    double value(const LossTotals& totals) const override {
        return totals.sums[0].value() / totals.sums[1].value();
    }

    void add_gradient(const RoutedBatch& routed, const LossTotals&, double scale,
                      RouterGradients& gradients) const override {
        const MatrixView<float> dshare = dense_part(gradients.token_share, routed);
        const std::vector<double> share = shares(routed);
        // 1 / (sequences * length): all sequences of a batch are equally long.
        const double unit = scale / routed.global_tokens();
        for_sequences(routed, [&](index_t sequence, Range tokens) {
            const double* const f = share.data() + sequence * experts_;
            for (index_t t = tokens.begin; t < tokens.end; ++t) {
                for (index_t e = 0; e < experts_; ++e) dshare(t, e) += static_cast<float>(unit * f[e]);
            }
        });
    }

  private:
    static index_t num_sequences(const RoutedBatch& routed) {
        const index_t tokens = routed.scores().rows;
        SY_REQUIRE(tokens % routed.pass.seq_len == 0, "sequence loss: ", tokens,
                   " tokens are not whole sequences of ", routed.pass.seq_len);
        return tokens / routed.pass.seq_len;
    }

    /// body(sequence, tokens) on the threads of the rank.
    template <class Body>
    static void for_sequences(const RoutedBatch& routed, const Body& body) {
        const index_t length = routed.pass.seq_len;
        routed.context.team.for_tasks(num_sequences(routed), [&](index_t sequence, int) {
            body(sequence, Range{sequence * length, (sequence + 1) * length});
        });
    }

    /// sum_e f_e score_e of one token.
    double weighted(const float* scores, const double* f) const {
        double sum = 0.0;
        for (index_t e = 0; e < experts_; ++e) sum += f[e] * static_cast<double>(scores[e]);
        return sum;
    }

    /// f of every sequence and expert, [sequences, E].
    std::vector<double> shares(const RoutedBatch& routed) const {
        const index_t length = routed.pass.seq_len;
        Tensor highest(routed.context.arena, DType::i32, {routed.scores().rows, top_k_});
        ops::gate_top_k(routed.scores(), highest.matrix<std::int32_t>(), routed.context);
        const MatrixView<const std::int32_t> expert = std::as_const(highest).matrix<std::int32_t>();
        std::vector<double> share(static_cast<std::size_t>(num_sequences(routed) * experts_), 0.0);
        const double unit = static_cast<double>(experts_) / static_cast<double>(top_k_ * length);
        for (index_t t = 0; t < expert.rows; ++t) {
            for (const std::int32_t e : expert.row_span(t))
                share[static_cast<std::size_t>(t / length * experts_ + e)] += unit;
        }
        return share;
    }

    double coefficient_;
    index_t experts_;
    index_t top_k_;
};

}  // namespace

std::unique_ptr<RouterLoss> make_sequence_loss(const MoeConfig& config) {
    return std::make_unique<SequenceLoss>(config);
}

}  // namespace sy::model
