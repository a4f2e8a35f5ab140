#include "tests/unit/model/reference_model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sy::test {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// x W with W [x.size(), cols] from `offset` on.
Row times(const Row& x, const std::vector<double>& weight, std::size_t cols, std::size_t offset = 0) {
    Row y(cols, 0.0);
    for (std::size_t i = 0; i < x.size(); ++i) {
        for (std::size_t j = 0; j < cols; ++j) y[j] += x[i] * weight[offset + i * cols + j];
    }
    return y;
}

void add(Row& x, const Row& y, double factor = 1.0) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += factor * y[i];
}

double log_sum_exp(const Row& x) {
    const double highest = *std::max_element(x.begin(), x.end());
    double sum = 0.0;
    for (const double value : x) sum += std::exp(value - highest);
    return highest + std::log(sum);
}

class Reference {
  public:
    Reference(const model::ModelConfig& config, const model::MoeConfig& moe, const ReferenceWeights& weights)
        : config_(config), moe_(moe), weights_(weights) {}

    ReferenceLoss run(std::span<const std::int32_t> ids) {
        const std::size_t length = at(config_.seq_len);
        const std::size_t num_tokens = ids.size() / (length + 1) * length;
        const std::vector<double>& embedding = weights_.at("embedding.weight");
        const std::size_t hidden = at(config_.hidden);
        Rows x;
        std::vector<std::size_t> target;
        for (std::size_t t = 0; t < num_tokens; ++t) {
            const std::size_t place = t / length * (length + 1) + t % length;
            const auto first = embedding.begin() +
                               static_cast<std::ptrdiff_t>(static_cast<std::size_t>(ids[place]) * hidden);
            x.emplace_back(first, first + static_cast<std::ptrdiff_t>(hidden));
            target.push_back(static_cast<std::size_t>(ids[place + 1]));
        }
        const std::vector<bool> mixtures = model::moe_layers(moe_, config_.layers);
        for (index_t layer = 0; layer < config_.layers; ++layer) {
            const std::string name = concat("layers.", layer);
            attend(normed(x, name + ".attention_norm.gain"), name + ".attention", x);
            const Rows input = normed(x, name + ".feed_forward_norm.gain");
            if (mixtures[at(layer)]) {
                mix(input, name + ".moe", x);
            } else {
                for (std::size_t t = 0; t < x.size(); ++t)
                    add(x[t], swiglu(input[t], name + ".feed_forward.", at(config_.ffn_width), 0));
            }
        }
        const Rows last = normed(x, "final_norm.gain");
        for (std::size_t t = 0; t < num_tokens; ++t) {
            const Row logits = head(last[t]);
            loss_.token_loss += (log_sum_exp(logits) - logits[target[t]]) / static_cast<double>(num_tokens);
        }
        loss_.total = loss_.token_loss + moe_.balance.switch_loss * loss_.balance_loss +
                      moe_.balance.z_loss * loss_.z_loss;
        return loss_;
    }

  private:
    Rows normed(const Rows& x, const std::string& gain_name) const {
        const std::vector<double>& gain = weights_.at(gain_name);
        Rows y = x;
        for (Row& row : y) {
            double squares = 0.0;
            for (const double value : row) squares += value * value;
            const double scale =
                1.0 / std::sqrt(squares / static_cast<double>(row.size()) + config_.norm_eps);
            for (std::size_t i = 0; i < row.size(); ++i) row[i] *= scale * gain[i];
        }
        return y;
    }

    Row head(const Row& x) const {
        if (!config_.tied_head) return times(x, weights_.at("head.weight"), at(config_.vocab_size));
        const std::vector<double>& embedding = weights_.at("embedding.weight");
        Row logits(at(config_.vocab_size), 0.0);
        for (std::size_t v = 0; v < logits.size(); ++v) {
            for (std::size_t i = 0; i < x.size(); ++i) logits[v] += x[i] * embedding[v * x.size() + i];
        }
        return logits;
    }

    /// A position is a rotation of the pair (i, i + D/2) by position * theta^(-2i/D).
    void rotate(Row& heads, std::size_t position) const {
        const std::size_t width = at(config_.head_width());
        for (std::size_t first = 0; first < heads.size(); first += width) {
            for (std::size_t i = 0; i < width / 2; ++i) {
                const double angle = static_cast<double>(position) *
                                     std::pow(config_.position.rope_theta,
                                              -2.0 * static_cast<double>(i) / static_cast<double>(width));
                const double a = heads[first + i];
                const double b = heads[first + i + width / 2];
                heads[first + i] = a * std::cos(angle) - b * std::sin(angle);
                heads[first + i + width / 2] = a * std::sin(angle) + b * std::cos(angle);
            }
        }
    }

    void attend(const Rows& x, const std::string& name, Rows& stream) const {
        const std::size_t width = at(config_.head_width());
        const std::size_t heads = at(config_.heads);
        const std::size_t sharing = heads / at(config_.kv_heads);
        const std::size_t length = at(config_.seq_len);
        Rows q, k, v;
        for (std::size_t t = 0; t < x.size(); ++t) {
            q.push_back(times(x[t], weights_.at(name + ".query"), heads * width));
            k.push_back(times(x[t], weights_.at(name + ".key"), heads / sharing * width));
            v.push_back(times(x[t], weights_.at(name + ".value"), heads / sharing * width));
            rotate(q.back(), t % length);
            rotate(k.back(), t % length);
        }
        for (std::size_t t = 0; t < x.size(); ++t) {
            Row out(heads * width, 0.0);
            for (std::size_t h = 0; h < heads; ++h) {
                const std::size_t from = h / sharing * width;
                Row scores;
                for (std::size_t s = t - t % length; s <= t; ++s) {
                    const double dot =
                        std::inner_product(q[t].begin() + static_cast<std::ptrdiff_t>(h * width),
                                           q[t].begin() + static_cast<std::ptrdiff_t>((h + 1) * width),
                                           k[s].begin() + static_cast<std::ptrdiff_t>(from), 0.0);
                    scores.push_back(dot / std::sqrt(static_cast<double>(width)));
                }
                const double lse = log_sum_exp(scores);
                for (std::size_t s = 0; s < scores.size(); ++s) {
                    for (std::size_t i = 0; i < width; ++i)
                        out[h * width + i] += std::exp(scores[s] - lse) * v[t - t % length + s][from + i];
                }
            }
            add(stream[t], times(out, weights_.at(name + ".output"), at(config_.hidden)));
        }
    }

    /// One feed-forward, or expert `expert` of several.
    Row swiglu(const Row& x, const std::string& prefix, std::size_t width, std::size_t expert) const {
        const std::size_t offset = expert * x.size() * width;
        Row gate = times(x, weights_.at(prefix + "gate"), width, offset);
        const Row up = times(x, weights_.at(prefix + "up"), width, offset);
        for (std::size_t i = 0; i < width; ++i) gate[i] = gate[i] / (1.0 + std::exp(-gate[i])) * up[i];
        return times(gate, weights_.at(prefix + "down"), x.size(), offset);
    }

    struct Choice {
        std::size_t token;
        std::size_t expert;
        double weight;
    };

    /// The choices of all tokens, all first choices before all second ones.
    std::vector<Choice> choose(const Rows& scores) const {
        std::vector<Choice> choices;
        for (index_t j = 0; j < moe_.top_k; ++j) {
            for (std::size_t t = 0; t < scores.size(); ++t) {
                std::vector<std::size_t> order(scores[t].size());
                std::iota(order.begin(), order.end(), std::size_t{0});
                std::stable_sort(order.begin(), order.end(),
                                 [&](std::size_t a, std::size_t b) { return scores[t][a] > scores[t][b]; });
                double chosen = 0.0;
                for (index_t i = 0; i < moe_.top_k; ++i) chosen += scores[t][order[at(i)]];
                const std::size_t expert = order[at(j)];
                choices.push_back({t, expert, scores[t][expert] / (moe_.renormalise ? chosen : 1.0)});
            }
        }
        return choices;
    }

    void mix(const Rows& x, const std::string& name, Rows& stream) {
        const std::size_t num_experts = at(moe_.experts);
        const auto num_tokens = static_cast<double>(x.size());
        Rows scores;
        Row mean_score(num_experts, 0.0);
        for (const Row& row : x) {
            Row logits = times(row, weights_.at(name + ".router"), num_experts);
            const double lse = log_sum_exp(logits);
            loss_.z_loss += lse * lse / num_tokens;
            for (std::size_t e = 0; e < num_experts; ++e) {
                logits[e] = std::exp(logits[e] - lse);
                mean_score[e] += logits[e] / num_tokens;
            }
            scores.push_back(logits);
        }
        const double slots = std::ceil(moe_.capacity_factor * static_cast<double>(moe_.top_k) * num_tokens /
                                       static_cast<double>(num_experts));
        const long capacity = moe_.capacity_factor > 0.0
                                  ? std::max(static_cast<long>(moe_.min_capacity), static_cast<long>(slots))
                                  : static_cast<long>(x.size() * num_experts);
        std::vector<long> load(num_experts, 0);
        for (const Choice& choice : choose(scores)) {
            if (load[choice.expert]++ >= capacity) {
                ++loss_.num_dropped;
                continue;
            }
            add(stream[choice.token],
                swiglu(x[choice.token], name + ".experts.", at(moe_.expert_width), choice.expert),
                choice.weight);
        }
        for (std::size_t e = 0; e < num_experts; ++e) {
            loss_.balance_loss += static_cast<double>(num_experts) / static_cast<double>(moe_.top_k) *
                                  static_cast<double>(load[e]) / num_tokens * mean_score[e];
        }
        if (moe_.shared_experts == 0) return;
        for (std::size_t t = 0; t < x.size(); ++t)
            add(stream[t], swiglu(x[t], name + ".shared.", at(moe_.shared_experts * moe_.expert_width), 0));
    }

    const model::ModelConfig& config_;
    const model::MoeConfig& moe_;
    const ReferenceWeights& weights_;
    ReferenceLoss loss_;
};

}  // namespace

ReferenceLoss reference_loss(const model::ModelConfig& config, const model::MoeConfig& moe,
                             const ReferenceWeights& weights, std::span<const std::int32_t> ids) {
    return Reference(config, moe, weights).run(ids);
}

}  // namespace sy::test
