#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "kernels/core/philox.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

class Hash : public RoutingStrategy {
  public:
    explicit Hash(const MoeConfig& config)
        : kind_(config.hash),
          experts_(config.experts),
          top_k_(config.top_k),
          rule_{.scaled_by_score = false,
                .renormalise = false,
                .scale = config.routed_scale / static_cast<double>(config.top_k)} {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        Tensor expert(context.arena, DType::i32, {static_cast<index_t>(in.pass.ids.size()), top_k_});
        std::int32_t* out = expert.values<std::int32_t>().data();
        for (const std::int32_t id : in.pass.ids) {
            SY_REQUIRE(id >= 0 && at(id) < table_.size() / at(top_k_), "hash: token id ", id,
                       " in a table of ", table_.size() / at(top_k_));
            for (index_t j = 0; j < top_k_; ++j) {
                const double entry = table_[at(id * top_k_ + j)];
                if (entry == kNoExpert) throw_no_counts();
                SY_REQUIRE(entry >= 0.0 && entry < static_cast<double>(experts_), "hash: token id ", id,
                           " has expert ", entry, " of ", experts_);
                *out++ = static_cast<std::int32_t>(entry);
            }
        }
        return expert;
    }
    WeightRule weights() const override { return rule_; }
    bool uses_logits() const override { return false; }
    std::span<double> state() override { return table_; }

    void make_table(const TableInput& in) override {
        table_.assign(at(in.vocab_size * top_k_), kNoExpert);
        if (kind_ == HashTable::random) {
            draw(in);
        } else if (!in.counts.empty()) {
            SY_REQUIRE(static_cast<index_t>(in.counts.size()) == in.vocab_size, "hash: counts of ",
                       in.counts.size(), " token ids for ", in.vocab_size);
            deal(in.counts);
        }
    }

  private:
    [[noreturn]] static void throw_no_counts() {
        throw ConfigError(
            "moe.hash = balanced has no table yet: it is made from the text when training starts, and kept "
            "in "
            "checkpoints; start from such a run, or set moe.hash = random");
    }

    /// The first K places of a shuffle of the experts, anew for each id. Four draws share a counter, which is the id.
    void draw(const TableInput& in) {
        std::vector<std::int32_t> order(at(experts_));
        for (index_t id = 0; id < in.vocab_size; ++id) {
            std::iota(order.begin(), order.end(), 0);
            std::array<std::uint32_t, 4> words{};
            for (index_t j = 0; j < top_k_; ++j) {
                if (j % 4 == 0) {
                    words = philox({in.seed, static_cast<std::uint64_t>(j / 4),
                                    static_cast<std::uint32_t>(in.layer_idx), RandomPurpose::hash_table},
                                   static_cast<std::uint64_t>(id));
                }
                const std::uint64_t rest = static_cast<std::uint64_t>(experts_ - j);
                std::swap(order[at(j)], order[at(j) + ((words[at(j % 4)] * rest) >> 32)]);
                table_[at(id * top_k_ + j)] = order[at(j)];
            }
        }
    }

    void deal(std::span<const index_t> counts) {
        std::vector<std::size_t> ids(counts.size());
        std::iota(ids.begin(), ids.end(), std::size_t{0});
        std::ranges::stable_sort(ids, [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
        std::vector<std::pair<index_t, index_t>> loads;  // with the expert, so that equal ones are in order
        for (index_t e = 0; e < experts_; ++e) loads.emplace_back(0, e);
        for (const std::size_t id : ids) {
            std::ranges::partial_sort(loads, loads.begin() + top_k_);
            for (index_t j = 0; j < top_k_; ++j) {
                table_[id * at(top_k_) + at(j)] = static_cast<double>(loads[at(j)].second);
                loads[at(j)].first += counts[id];
            }
        }
    }

    HashTable kind_;
    index_t experts_;
    index_t top_k_;
    WeightRule rule_;
    std::vector<double> table_;  ///< [V, K]
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_hash(const MoeConfig& config) {
    return std::make_unique<Hash>(config);
}

}  // namespace sy::model
