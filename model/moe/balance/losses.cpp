#include <array>

#include "kernels/ops/gate/gate.hpp"
#include "model/moe/balance/loss.hpp"

namespace sy::model {
namespace {

struct Entry {
    double BalanceConfig::*coefficient;
    std::unique_ptr<RouterLoss> (*make)(const MoeConfig&);
};

constexpr std::array kLosses{Entry{&BalanceConfig::switch_loss, make_switch_loss},
                             Entry{&BalanceConfig::z_loss, make_z_loss},
                             Entry{&BalanceConfig::importance_loss, make_importance_loss},
                             Entry{&BalanceConfig::load_loss, make_load_loss},
                             Entry{&BalanceConfig::device_loss, make_device_loss},
                             Entry{&BalanceConfig::communication_loss, make_communication_loss},
                             Entry{&BalanceConfig::sequence_loss, make_sequence_loss}};

}  // namespace

double RoutedBatch::share_of_score(index_t token) const {
    if (routing.score == Score::softmax) return 1.0;
    auto sum = static_cast<double>(ops::kLeastScoreSum);
    for (const float score : scores().row_span(token)) sum += static_cast<double>(score);
    return 1.0 / sum;
}

void add_group_shares(const RoutedBatch& routed, std::span<ExactSum> sums) {
    const MatrixView<const float> scores = routed.scores();
    const index_t size = scores.cols / static_cast<index_t>(sums.size());
    for (index_t t = 0; t < scores.rows; ++t) {
        const float* score = scores.row(t);
        const double unit = routed.share_of_score(t);
        for (ExactSum& sum : sums) {
            double total = 0.0;
            for (index_t e = 0; e < size; ++e) total += static_cast<double>(*score++);
            sum.add(unit * total);
        }
    }
}

MatrixView<float> dense_part(Tensor& part, const RoutedBatch& routed) {
    if (part.empty()) {
        part = Tensor(routed.context.arena, DType::f32, routed.routing.scores.shape());
        part.fill_zero();
    }
    return part.matrix<float>();
}

std::vector<std::unique_ptr<RouterLoss>> make_router_losses(const MoeConfig& config) {
    std::vector<std::unique_ptr<RouterLoss>> losses;
    for (const Entry& entry : kLosses) {
        if (config.balance.*entry.coefficient != 0.0) losses.push_back(entry.make(config));
    }
    return losses;
}

std::vector<ExactSum> loss_sums(std::span<const std::unique_ptr<RouterLoss>> losses,
                                const RoutedBatch& routed) {
    std::vector<ExactSum> sums;
    for (const auto& loss : losses) {
        const std::size_t first = sums.size();
        sums.resize(first + static_cast<std::size_t>(loss->num_sums()));
        loss->add_sums(routed, std::span(sums).subspan(first));
    }
    return sums;
}

}  // namespace sy::model
