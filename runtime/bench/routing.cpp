// Every router, and every balance loss on top of top_k, forward and backward on one rank, against a whole mixture layer
// ("fine" of bench layer). T tokens, H hidden, E experts, K choices, D groups.
#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "comm/local/local_fabric.hpp"
#include "runtime/bench/routing_bench.hpp"

namespace sy::runtime::bench {
namespace {

constexpr index_t kSampled[] = {0, 1, 1234, 2047, kRoutingTokens - 1};

/// Values of experts, groups or choices.
struct NumberAxis;
using Numbers = Indexed<NumberAxis, double>;

struct Case {
    std::string name;
    model::MoeConfig moe;
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const std::string& name : model::router_names()) {
        Case one{name, fine_config()};
        one.moe.router = name;
        if (name == "base") one.moe.top_k = 1;
        if (name == "group_limited") {
            one.moe.groups = 8;
            one.moe.group_limit = 4;
        }
        if (name == "hash") one.moe.hash = model::HashTable::balanced;
        all.push_back(one);
    }
    using Balance = model::BalanceConfig;
    for (const auto& [name, coefficient] : {std::pair{"switch_loss", &Balance::switch_loss},
                                            {"z_loss", &Balance::z_loss},
                                            {"importance_loss", &Balance::importance_loss},
                                            {"device_loss", &Balance::device_loss},
                                            {"communication_loss", &Balance::communication_loss},
                                            {"sequence_loss", &Balance::sequence_loss}}) {
        Case one{concat("top_k, ", name), fine_config()};
        one.moe.groups = 8;
        one.moe.group_limit = 4;
        one.moe.balance.*coefficient = 1.0;
        all.push_back(one);
    }
    return all;
}

/// The same in double from the router's weights, with the choices as they are.
class Reference {
  public:
    explicit Reference(const Routed& routed)
        : r_(routed), moe_(routed.bench.moe), expert_(routed.routing.expert.matrix<std::int32_t>()) {}

    /// Largest error of conservation, choices, weights, gradients and the loss.
    double error() const {
        if (!conserves() || !chooses()) return HUGE_VAL;
        return std::max({weight_error(), gradient_error(), loss_error()});
    }

  private:
    /// All choices are there, different within a token, and as even as the rule says.
    bool conserves() const {
        PerExpert<index_t> load(moe_.experts, 0);
        for (index_t t = 0; t < expert_.rows; ++t) {
            std::set<std::int32_t> seen;
            for (const std::int32_t e : expert_.row_span(t)) {
                if (e == model::kNoExpert && moe_.router == "expert_choice") continue;
                if (e < 0 || e >= moe_.experts || !seen.insert(e).second) return false;
                ++load[e];
            }
        }
        index_t sum = 0;
        for (const index_t own : load) sum += own;
        const bool even = moe_.router == "base" || moe_.router == "expert_choice";
        return expert_.rows == kRoutingTokens && sum == kRoutingTokens * moe_.top_k &&
               (!even || std::ranges::all_of(load, [&](index_t n) { return n * moe_.experts == sum; }));
    }

    /// top_k: none is better than what was chosen. group_limited: few groups. hash: by id alone.
    bool chooses() const {
        for (const index_t t : kSampled) {
            const auto chosen = expert_.row_span(t);
            if (moe_.router == "hash") {
                for (index_t s = 0; s < kRoutingTokens; ++s) {
                    if (r_.bench.ids[s] == r_.bench.ids[t] &&
                        !std::ranges::equal(expert_.row_span(s), chosen))
                        return false;
                }
                continue;
            }
            const Numbers logits = logits_of(row(r_.bench.x, t));
            std::set<std::int32_t> groups;
            double lowest = HUGE_VAL;
            for (const std::int32_t e : chosen) {
                if (e == model::kNoExpert) continue;
                lowest = std::min(lowest, logits[e]);
                if (moe_.groups > 0) groups.insert(e / narrow<std::int32_t>(moe_.experts / moe_.groups));
            }
            const bool limited = moe_.router == "group_limited";
            if (limited && static_cast<index_t>(groups.size()) > moe_.group_limit) return false;
            if (moe_.router != "top_k" && !limited) continue;
            for (index_t e = 0; e < moe_.experts; ++e) {
                const bool open =
                    !limited || groups.contains(narrow<std::int32_t>(e / (moe_.experts / moe_.groups)));
                if (open && logits[e] > lowest + 1e-5 &&
                    std::ranges::find(chosen, narrow<std::int32_t>(e)) == chosen.end())
                    return false;
            }
        }
        return true;
    }

    double weight_error() const {
        double error = 0.0;
        for (const index_t t : kSampled) {
            const Numbers expected = weights_of(t, logits_or_none(row(r_.bench.x, t)));
            const MatrixView<const float> got = r_.routing.weight.matrix<float>();
            for (index_t j = 0; j < expected.size(); ++j)
                error = larger(error, std::fabs(static_cast<double>(got(t, j)) - expected[j]));
        }
        return error;
    }

    /// Error of the gradient of some tokens along a random direction, against central differences, over the largest.
    double gradient_error() const {
        if (moe_.router == "hash") {
            const bool none =
                std::ranges::all_of(r_.dx.values<float>(), [](float value) { return value == 0.0F; });
            return none ? 0.0 : HUGE_VAL;
        }
        const Numbers sums = r_.losses.empty() ? Numbers{} : all_contributions();
        double error = 0.0;
        double scale = 0.0;
        for (const index_t t : kSampled) {
            constexpr double kStep = 1e-4;
            const Numbers x = row(r_.bench.x, t);
            Numbers above = x;
            Numbers below = x;
            double got = 0.0;
            for (index_t i = 0; i < x.size(); ++i) {
                const auto direction = static_cast<double>(
                    normal({9, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(i)));
                above[i] += kStep * direction;
                below[i] -= kStep * direction;
                got += row(r_.dx, t)[i] * direction;
            }
            const double expected = (objective(t, above, sums) - objective(t, below, sums)) / (2.0 * kStep);
            error = larger(error, std::fabs(got - expected));
            scale = std::max(scale, std::fabs(expected));
        }
        return scale > 0.0 ? error / scale : HUGE_VAL;
    }

    double loss_error() const {
        if (r_.losses.empty()) return 0.0;
        const double expected = loss_of(all_contributions());
        return std::fabs(r_.value - expected) / std::fabs(expected);
    }

    /// What a token's row adds to what is minimised. @param sums  of the loss, with the token as it is
    double objective(index_t t, const Numbers& x, Numbers sums) const {
        const Numbers logits = logits_of(x);
        if (!r_.losses.empty()) {
            const Numbers before = contribution(t, logits_of(row(r_.bench.x, t)));
            const Numbers after = contribution(t, logits);
            for (index_t i = 0; i < sums.size(); ++i) sums[i] += after[i] - before[i];
            return loss_of(sums);
        }
        if (moe_.router == "reinforce") return policy_loss(t, logits);
        const Numbers weights = weights_of(t, logits);
        double total = 0.0;
        for (index_t j = 0; j < weights.size(); ++j) total += Routed::weight_gradient(j) * weights[j];
        return total;
    }

    /// -(r - b) log pi of the draws; the baseline starts at 0.
    double policy_loss(index_t t, const Numbers& logits) const {
        Numbers left;
        for (const double logit : logits) left.push_back(std::exp(logit));
        double log_pi = 0.0;
        for (const std::int32_t e : expert_.row_span(t)) {
            double sum = 0.0;
            for (const double p : left) sum += p;
            log_pi += std::log(left[e] / sum);
            left[e] = 0.0;
        }
        return static_cast<double>(r_.bench.token_loss[t]) * log_pi / static_cast<double>(kRoutingTokens);
    }

    Numbers weights_of(index_t t, const Numbers& logits) const {
        const std::string& router = moe_.router;
        Numbers score = router == "hash" ? Numbers{} : softmax(logits);
        const auto chosen = expert_.row_span(t);
        double sum = 0.0;
        for (const std::int32_t e : chosen)
            if (e != model::kNoExpert && !score.empty()) sum += score[e];
        Numbers weights;
        for (const std::int32_t e : chosen) {
            double weight = 0.0;
            if (e == model::kNoExpert) {
                weight = 0.0;
            } else if (router == "hash") {
                weight = 1.0 / static_cast<double>(moe_.top_k);
            } else if (router == "reinforce") {
                weight = 1.0;
            } else if (router == "base") {
                weight = 1.0 / (1.0 + std::exp(-logits[e]));
            } else {
                const bool whole = router == "expert_choice" || router == "sinkhorn";
                weight = score[e] / (whole ? 1.0 : sum);
            }
            weights.push_back(weight);
        }
        return weights;
    }

    /// What one token adds to the sums of its loss.
    Numbers contribution(index_t t, const Numbers& logits) const {
        const model::BalanceConfig& balance = moe_.balance;
        const Numbers score = softmax(logits);
        if (balance.switch_loss > 0.0) return score;
        if (balance.z_loss > 0.0) {
            double sum = 0.0;
            for (const double logit : logits) sum += std::exp(logit);
            return {std::log(sum) * std::log(sum)};
        }
        if (balance.sequence_loss > 0.0) {
            const index_t first = t / kRoutingSequence * kRoutingSequence;
            double sum = 0.0;
            for (index_t s = first; s < first + kRoutingSequence; ++s)
                for (const std::int32_t e : expert_.row_span(s)) sum += score[e];
            const auto share =
                static_cast<double>(moe_.experts) / static_cast<double>(moe_.top_k * kRoutingSequence);
            return {share * sum / static_cast<double>(kRoutingTokens)};
        }
        if (balance.importance_loss > 0.0) {
            Numbers importance(score.size(), 0.0);
            const Numbers weights = weights_of(t, logits);
            for (index_t j = 0; j < weights.size(); ++j) importance[expert_(t, j)] += weights[j];
            return importance;
        }
        Numbers groups(moe_.groups, 0.0);
        for (index_t e = 0; e < score.size(); ++e) groups[e / (score.size() / groups.size())] += score[e];
        return groups;
    }

    Numbers all_contributions() const {
        Numbers sums;
        const MatrixView<const float> logits = r_.routing.logits.matrix<float>();
        for (index_t t = 0; t < kRoutingTokens; ++t) {
            const Numbers one = contribution(t, numbers(logits.row_span(t)));
            sums.resize(one.size());
            for (index_t i = 0; i < one.size(); ++i) sums[i] += one[i];
        }
        return sums;
    }

    double loss_of(const Numbers& sums) const {
        const model::BalanceConfig& balance = moe_.balance;
        const auto tokens = static_cast<double>(kRoutingTokens);
        if (balance.z_loss > 0.0) return sums[0] / tokens;
        if (balance.sequence_loss > 0.0) return sums[0];
        if (balance.importance_loss > 0.0) {
            double mean = 0.0;
            double squares = 0.0;
            for (const double sum : sums) mean += sum / static_cast<double>(sums.size());
            for (const double sum : sums) squares += (sum - mean) * (sum - mean);
            return squares / static_cast<double>(sums.size()) / (mean * mean + 1e-10);
        }
        const Numbers reached = reached_parts(sums.size());
        const index_t each = balance.communication_loss > 0.0 ? moe_.group_limit : moe_.top_k;
        double loss = 0.0;
        for (index_t i = 0; i < sums.size(); ++i)
            loss += static_cast<double>(sums.size()) / static_cast<double>(each) * reached[i] / tokens *
                    sums[i] / tokens;
        return loss;
    }

    /// Choices in each of equal runs of experts; for the communication loss, tokens with one there.
    Numbers reached_parts(index_t num_parts) const {
        Numbers reached(num_parts, 0.0);
        const index_t size = moe_.experts / num_parts;
        for (index_t t = 0; t < kRoutingTokens; ++t) {
            std::set<index_t> seen;
            for (const std::int32_t e : expert_.row_span(t)) {
                const bool first = seen.insert(e / size).second;
                if (first || moe_.balance.communication_loss == 0.0) reached[e / size] += 1.0;
            }
        }
        return reached;
    }

    static Numbers softmax(Numbers values) {
        double sum = 0.0;
        for (double& value : values) sum += value = std::exp(value);
        for (double& value : values) value /= sum;
        return values;
    }
    static Numbers numbers(std::span<const float> values) {
        return Numbers(std::vector<double>(values.begin(), values.end()));
    }
    static Numbers row(const Tensor& x, index_t t) { return numbers(x.matrix<float>().row_span(t)); }
    static double larger(double error, double other) {
        return std::isfinite(other) ? std::max(error, other) : HUGE_VAL;
    }
    Numbers logits_or_none(const Numbers& x) const {
        return moe_.router == "hash" ? Numbers{} : logits_of(x);
    }
    /// The router's weight is the first parameter [H, E].
    Numbers logits_of(const Numbers& x) const {
        const auto w_he = host<const float>(r_.bench.parameters.weight(0));
        Numbers logits(moe_.experts, 0.0);
        for (index_t h = 0; h < w_he.rows; ++h) {
            for (index_t e = 0; e < w_he.cols; ++e) logits[e] += x[h] * static_cast<double>(w_he(h, e));
        }
        return logits;
    }

    const Routed& r_;
    const model::MoeConfig& moe_;
    MatrixView<const std::int32_t> expert_;
};

/// Forward and backward of the whole layer with top_k.
Times time_layer(const BenchOptions& options, Machine& machine, comm::Communicator& world) {
    RoutingBench bench(machine, world, fine_config());
    const std::unique_ptr<comm::Exchange> exchange =
        comm::make_exchange(comm::ExchangeKind::flat, world, comm::discover_topology(world), machine.context);
    const model::ModelWorld ranks{world, *exchange};
    const model::MoeLayer layer(bench.shared, bench.moe, ranks, model::kFirstMixture);
    bench.parameters.allocate(1);
    const std::span<const float> source = std::as_const(bench.x).values<float>();
    return time_repeatedly(options, [&] {
        model::Tape tape(model::Tape::Mode::record, machine.context);
        model::Value& x = tape.value(kRoutingTokens, kRoutingHidden);
        std::ranges::copy(source, x.data.values<float>().begin());
        model::MoeStatistics statistics;
        model::Value& y = layer.forward(tape, x, bench.pass, &statistics);
        y.grad = Tensor(machine.device, DType::f32, {kRoutingTokens, kRoutingHidden});
        std::ranges::copy(source, y.grad.values<float>().begin());
        tape.backward();
    });
}

}  // namespace

void routing(const BenchOptions& options, Report& report) {
    report.note(
        concat(kRoutingTokens, " tokens of width ", kRoutingHidden, ", ", options.threads,
               " threads; 64 experts, top 6 (base: top 1); group_limited and losses: 8 groups, at most 4 "
               "a token"));
    Machine machine(options.threads);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        const Times layer = time_layer(options, machine, world);
        report.note(concat("    the whole layer with top_k: ", layer.best_ms, " ms"));
        for (const Case& one : cases()) {
            Routed routed(machine, world, one.moe);
            const Times times = time_repeatedly(options, [&] { routed.run(); });
            BenchRow row = routing_row(options, one.name, "forward_backward", times, layer.best_ms);
            row.error = Reference(routed).error();
            report.row(row);
        }
        routing_options(options, machine, world, layer.best_ms, report);
    });
}

}  // namespace sy::runtime::bench
