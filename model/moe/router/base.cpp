#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/profile.hpp"
#include "model/moe/router/auction.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

class BaseLayer : public RoutingStrategy {
  public:
    explicit BaseLayer(const MoeConfig& config)
        : RoutingStrategy({.score = Score::sigmoid, .renormalise = false, .scale = config.routed_scale}) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        return in.pass.training() ? assign(in, context) : highest_scores(in.logits, 1, context);
    }

  private:
    /// Every rank solves the same problem: cheaper than to solve it once and send the answer, which all would await.
    static Tensor assign(const ChoiceInput& in, const Context& context) {
        const index_t num_experts = in.logits.cols();
        const index_t mine = in.logits.rows();
        const std::vector<index_t> tokens = comm::all_gather(in.world, std::span<const index_t>(&mine, 1));
        std::vector<index_t> offsets{0};
        for (const index_t count : tokens) offsets.push_back(offsets.back() + count * num_experts);
        const index_t first_row = offsets[static_cast<std::size_t>(in.world.rank())] / num_experts;
        SY_REQUIRE(first_row == in.pass.batch.first_token, "base: this rank's tokens start at ",
                   in.pass.batch.first_token, ", and lower ranks hold ", first_row);
        std::vector<float> scores(static_cast<std::size_t>(offsets.back()));
        const MatrixView<float> all(scores.data(), offsets.back() / num_experts, num_experts);
        const HostValues read(HostRead::assignment, {in.logits}, context);
        const auto own = host<const float>(read[0]);
        for (index_t t = 0; t < mine; ++t) std::copy_n(own.row(t), num_experts, all.row(first_row + t));
        comm::all_gather(in.world, std::span<float>(scores), offsets);
        const Timed timed(context, OpKind::routing, static_cast<double>(offsets.back()));
        const std::vector<std::int32_t> assigned = balanced_assignment(all);
        Tensor expert(context.device, DType::i32, {mine, 1});
        context.device.upload(MatrixView<const std::int32_t>(assigned.data() + first_row, mine, 1), expert,
                              context.stream);
        return expert;
    }
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_base(const MoeConfig& config) {
    return std::make_unique<BaseLayer>(config);
}

}  // namespace sy::model
