#include "model/moe/capacity.hpp"

#include <algorithm>
#include <cmath>

#include "comm/collectives.hpp"
#include "kernels/core/decimal.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "model/moe/router/strategy.hpp"
#include "model/moe/selection.hpp"

namespace sy::model {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

bool limits_experts(const MoeConfig& config, Use use) {
    return config.capacity_factor > 0.0 && use != Use::generate;
}

bool limits_devices(const MoeConfig& config, Use use) {
    return config.device_capacity > 0.0 && use == Use::train;
}

index_t slots_of_expert(const MoeConfig& config, Use use, index_t tokens) {
    const bool own_factor = use == Use::evaluate && config.eval_capacity_factor > 0.0;
    const double factor = own_factor ? config.eval_capacity_factor : config.capacity_factor;
    return std::max(config.min_capacity, decimal_ceil(factor, config.top_k * tokens, config.experts));
}

/// The slots of every expert and who gets them, among the tokens of all ranks or of this one.
class Slots {
  public:
    Slots(const CapacityInput& in, const MoeConfig& config, comm::Communicator* ranks, index_t capacity)
        : expert_(host<const std::int32_t>(in.expert)),
          score_(host<const float>(in.score)),
          ranks_(ranks),
          num_experts_(at(config.experts)),
          num_queues_(at(config.top_k)),
          capacity_(capacity) {}

    /// @param load  [E] receives the choices that were counted
    std::vector<std::uint8_t> by_position(std::vector<index_t>& load) const {
        std::vector<index_t> next = counts_by_queue();
        std::vector<index_t> totals = next;
        if (ranks_ != nullptr) {
            totals = comm::exscan(*ranks_, std::span<index_t>(next));
        } else {
            std::fill(next.begin(), next.end(), 0);
        }
        // Place of this rank's first choice of each queue: behind the earlier queues, then behind the lower ranks.
        load.assign(num_experts_, 0);
        for (std::size_t i = 0; i < totals.size(); ++i) {
            next[i] += load[i % num_experts_];
            load[i % num_experts_] += totals[i];
        }
        std::vector<std::uint8_t> kept(num_choices(), 0);
        for_choices([&](std::size_t i, std::size_t queue, std::size_t expert) {
            kept[i] = next[queue * num_experts_ + expert]++ < capacity_ ? 1 : 0;
        });
        return kept;
    }

    std::vector<std::uint8_t> by_score(std::vector<index_t>& load) const {
        load.assign(num_experts_, 0);
        for_choices([&](std::size_t, std::size_t, std::size_t expert) { ++load[expert]; });
        if (ranks_ != nullptr) comm::all_reduce(*ranks_, std::span<index_t>(load));
        const std::vector<index_t> places(num_experts_, capacity_);
        return select_best({experts(), {score_.data, num_choices()}, places}, ranks_);
    }

    /// Earlier queues of an expert fit whole, one is cut by the priority of its tokens, later ones find no place.
    std::vector<std::uint8_t> by_priority(std::vector<index_t>& load) const {
        std::vector<index_t> totals = counts_by_queue();
        if (ranks_ != nullptr) comm::all_reduce(*ranks_, std::span<index_t>(totals));
        load.assign(num_experts_, 0);
        std::vector<index_t> places(num_experts_, 0);
        std::vector<std::size_t> cut(num_experts_, num_queues_);
        for (std::size_t i = 0; i < totals.size(); ++i) {
            const std::size_t expert = i % num_experts_;
            const index_t left = capacity_ - load[expert];
            load[expert] += totals[i];
            if (cut[expert] < num_queues_ || totals[i] <= left) continue;
            cut[expert] = i / num_experts_;
            places[expert] = left;
        }
        std::vector<std::int32_t> bin(num_choices(), kNoExpert);
        std::vector<std::uint8_t> kept(num_choices(), 0);
        for_choices([&](std::size_t i, std::size_t queue, std::size_t expert) {
            if (queue < cut[expert]) kept[i] = 1;
            if (queue == cut[expert]) bin[i] = static_cast<std::int32_t>(expert);
        });
        const std::vector<std::uint8_t> won = select_best({bin, priorities(), places}, ranks_);
        for (std::size_t i = 0; i < kept.size(); ++i) kept[i] |= won[i];
        return kept;
    }

  private:
    std::size_t num_choices() const { return at(expert_.rows * expert_.cols); }
    std::span<const std::int32_t> experts() const { return {expert_.data, num_choices()}; }

    /// By queue, then by token, then by choice. body(choice of the rank, queue, expert)
    template <class Body>
    void for_choices(const Body& body) const {
        const index_t top_k = expert_.cols;
        const index_t last = static_cast<index_t>(num_queues_) - 1;
        for (index_t queue = 0; queue <= std::min(last, top_k - 1); ++queue) {
            const index_t end = queue == last ? top_k : queue + 1;
            for (index_t t = 0; t < expert_.rows; ++t) {
                for (index_t j = queue; j < end; ++j) {
                    const std::int32_t expert = expert_(t, j);
                    if (expert != kNoExpert) body(at(t * top_k + j), at(queue), at(expert));
                }
            }
        }
    }

    std::vector<index_t> counts_by_queue() const {
        std::vector<index_t> counts(num_queues_ * num_experts_, 0);
        for_choices([&](std::size_t, std::size_t queue, std::size_t expert) {
            ++counts[queue * num_experts_ + expert];
        });
        return counts;
    }

    /// [T * K] the highest score among the choices of a token, for each of them.
    std::vector<float> priorities() const {
        std::vector<float> result(num_choices());
        for (index_t t = 0; t < expert_.rows; ++t) {
            float highest = -HUGE_VALF;
            for (index_t j = 0; j < expert_.cols; ++j) {
                if (expert_(t, j) != kNoExpert) highest = std::fmax(highest, score_(t, j));
            }
            std::fill_n(result.begin() + t * expert_.cols, expert_.cols, highest);
        }
        return result;
    }

    MatrixView<const std::int32_t> expert_;  ///< [T, K]
    MatrixView<const float> score_;          ///< [T, K] or empty
    comm::Communicator* ranks_;
    std::size_t num_experts_;
    std::size_t num_queues_;
    index_t capacity_;
};

std::vector<std::uint8_t> choose_kept(const Slots& slots, DropBy rule, std::vector<index_t>& load) {
    if (rule == DropBy::score) return slots.by_score(load);
    if (rule == DropBy::batch_priority) return slots.by_priority(load);
    return slots.by_position(load);
}

/// Keeps everything. @par Collective over `world`
void count_load(const CapacityInput& in, comm::Communicator& world, CapacityResult& result) {
    const auto choices = host_values<const std::int32_t>(in.expert);
    for (std::size_t i = 0; i < choices.size(); ++i) {
        result.kept[i] = choices[i] != kNoExpert ? 1 : 0;
        if (choices[i] != kNoExpert) ++result.load[at(choices[i])];
    }
    comm::all_reduce(world, std::span<index_t>(result.load));
}

/// Marks what lost its slot. @return on this rank
index_t mark_dropped(const CapacityInput& in, CapacityResult& result) {
    const auto choices = host_values<const std::int32_t>(in.expert);
    index_t dropped = 0;
    for (std::size_t i = 0; i < result.kept.size(); ++i) {
        if (result.kept[i] != 0 || choices[i] == kNoExpert) continue;
        result.reason[i] = DropReason::capacity;
        ++dropped;
    }
    return dropped;
}

}  // namespace

bool needs_scores(const MoeConfig& config, Use use) {
    return limits_devices(config, use) || (limits_experts(config, use) && config.drop_by != DropBy::position);
}

CapacityResult apply_capacity(const CapacityInput& in, const MoeConfig& config, comm::Communicator& world) {
    const auto num_choices = at(in.expert.num_elements());
    SY_REQUIRE(in.expert.is_contiguous() && in.score.is_contiguous(),
               "capacity: choices and scores must have no gaps");
    SY_REQUIRE(!needs_scores(config, in.pass.use) ||
                   (in.score.rows() == in.expert.rows() && in.score.cols() == in.expert.cols()),
               "capacity: scores [", in.score.rows(), ", ", in.score.cols(), "] of choices [",
               in.expert.rows(), ", ", in.expert.cols(), "]");
    CapacityResult result;
    result.kept.resize(num_choices);
    result.load.assign(at(config.experts), 0);
    const bool limits = limits_experts(config, in.pass.use);
    if (limits || limits_devices(config, in.pass.use)) result.reason.assign(num_choices, DropReason::none);
    if (!limits) {
        count_load(in, world, result);
    } else if (config.capacity_scope == CapacityScope::global) {
        result.capacity = slots_of_expert(config, in.pass.use, in.pass.batch.global_tokens);
        result.kept = choose_kept({in, config, &world, result.capacity}, config.drop_by, result.load);
        mark_dropped(in, result);
        for (const index_t count : result.load)
            result.num_dropped += std::max<index_t>(0, count - result.capacity);
    } else {
        result.capacity = slots_of_expert(config, in.pass.use, in.expert.rows());
        result.kept = choose_kept({in, config, nullptr, result.capacity}, config.drop_by, result.load);
        result.load.push_back(mark_dropped(in, result));
        comm::all_reduce(world, std::span<index_t>(result.load));
        result.num_dropped = result.load.back();
        result.load.pop_back();
    }
    if (limits_devices(config, in.pass.use)) detail::apply_device_budget(in, config, world, result);
    return result;
}

namespace {

/// The scores that rank choices, where the routing does not have them already; else empty.
Tensor make_scores(const Routing& routing, const PassInfo& pass, const MoeConfig& config,
                   const Context& context) {
    if (!needs_scores(config, pass.use) || routing.scores.empty()) return {};
    Tensor chosen(context.device, DType::f32, routing.expert.shape());
    ops::gate_weights({routing.scores, routing.sent(), ops::Renormalise::no, 1.0F}, chosen, context);
    return chosen;
}

ConstTensorRef ranking_scores(const Tensor& chosen, const Routing& routing, const PassInfo& pass,
                              const MoeConfig& config) {
    if (!needs_scores(config, pass.use)) return {};
    return chosen.empty() ? routing.weight : chosen;
}

}  // namespace

ReadChoices::ReadChoices(const Routing& routing, const PassInfo& pass, const MoeConfig& config,
                         ConstTensorRef sums, const Context& context)
    : chosen_score_(make_scores(routing, pass, config, context)),
      values_(HostRead::choices,
              {routing.sent(), routing.weight, ranking_scores(chosen_score_, routing, pass, config), sums},
              context) {}

comm::Choices ReadChoices::exchanged(const std::vector<std::uint8_t>& kept, const PassInfo& pass) const {
    return {.expert = HostRef(expert()),
            .weight = HostRef(weight()),
            .kept = MatrixView<const std::uint8_t>(kept.data(), expert().rows(), expert().cols()),
            .first_token = pass.batch.first_token,
            .seq_len = pass.seq_len};
}

comm::ReturnRows return_rows(const Context& context) {
    return context.numerics == NumericsMode::fast ? comm::ReturnRows::per_unit : comm::ReturnRows::per_choice;
}

}  // namespace sy::model
