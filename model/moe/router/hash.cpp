#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

#include "kernels/core/host_view.hpp"
#include "kernels/core/indexed.hpp"
#include "kernels/core/philox.hpp"
#include "model/moe/router/strategy.hpp"

namespace sy::model {
namespace {

class Hash : public RoutingStrategy {
  public:
    explicit Hash(const MoeConfig& config)
        : RoutingStrategy({.scaled_by_score = false,
                           .renormalise = false,
                           .scale = config.routed_scale / static_cast<double>(config.top_k)}),
          kind_(config.hash),
          experts_(config.experts),
          top_k_(config.top_k) {}

    Tensor choose(const ChoiceInput& in, const Context& context) const override {
        const PerTokenSpan<const std::int32_t> ids(in.pass.ids);
        const index_t num_ids = static_cast<index_t>(entries_.size()) / top_k_;
        std::vector<std::int32_t> chosen;
        for (index_t t = 0; t < ids.size(); ++t) {
            SY_REQUIRE(ids[t] >= 0 && ids[t] < num_ids, "hash: token id ", ids[t], " in a table of ",
                       num_ids);
            for (index_t j = 0; j < top_k_; ++j) {
                const double entry = entries_[place(ids[t], j)];
                if (entry == kNoExpert) throw_no_counts();
                SY_REQUIRE(entry >= 0.0 && entry < static_cast<double>(experts_), "hash: token id ", ids[t],
                           " has expert ", entry, " of ", experts_);
                chosen.push_back(static_cast<std::int32_t>(entry));
            }
        }
        Tensor expert(context.device, DType::i32, {ids.size(), top_k_});
        context.device.upload(MatrixView<const std::int32_t>(chosen.data(), ids.size(), top_k_), expert,
                              context.stream);
        return expert;
    }
    bool uses_logits() const override { return false; }
    std::span<double> state() override { return entries_; }

    void make_table(const TableInput& in) override {
        entries_.assign(static_cast<std::size_t>(in.vocab_size * top_k_), kNoExpert);
        if (kind_ == HashTable::random) {
            draw(in);
        } else if (!in.counts.empty()) {
            SY_REQUIRE(static_cast<index_t>(in.counts.size()) == in.vocab_size, "hash: counts of ",
                       in.counts.size(), " token ids for ", in.vocab_size);
            assign_by_count(in.counts);
        }
    }

  private:
    [[noreturn]] static void throw_no_counts() {
        throw ConfigError(
            "moe.hash = balanced has no table yet: it is made from the text when training starts, and kept "
            "in "
            "checkpoints; start from such a run, or set moe.hash = random");
    }

    std::size_t place(index_t id, index_t j) const { return static_cast<std::size_t>(id * top_k_ + j); }

    /// The first K places of a shuffle of the experts, anew for each id. Four draws share a counter, which is the id.
    void draw(const TableInput& in) {
        PerExpert<std::int32_t> order(experts_);
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
                const std::uint64_t word = words[static_cast<std::size_t>(j % 4)];
                std::swap(order[j], order[j + static_cast<index_t>((word * rest) >> 32)]);
                entries_[place(id, j)] = order[j];
            }
        }
    }

    void assign_by_count(std::span<const index_t> counts) {
        std::vector<index_t> ids(counts.size());
        std::iota(ids.begin(), ids.end(), index_t{0});
        const auto count_of = [&](index_t id) { return counts[static_cast<std::size_t>(id)]; };
        std::ranges::stable_sort(ids, std::ranges::greater(), count_of);
        PerExpert<std::pair<index_t, index_t>> loads;  // with the expert, so that equal ones are in order
        for (index_t e = 0; e < experts_; ++e) loads.emplace_back(0, e);
        for (const index_t id : ids) {
            std::ranges::partial_sort(loads, loads.begin() + top_k_);
            for (index_t j = 0; j < top_k_; ++j) {
                entries_[place(id, j)] = static_cast<double>(loads[j].second);
                loads[j].first += count_of(id);
            }
        }
    }

    HashTable kind_;
    index_t experts_;
    index_t top_k_;
    std::vector<double> entries_;  ///< [V, K]
};

}  // namespace

std::unique_ptr<RoutingStrategy> make_hash(const MoeConfig& config) {
    return std::make_unique<Hash>(config);
}

}  // namespace sy::model
