#include "comm/exchange/send_plan.hpp"

#include <limits>

#include "comm/exchange/list_text.hpp"
#include "kernels/core/host_view.hpp"

namespace sy::comm {
namespace {

constexpr std::int32_t kNothing = -1;

/// Choices that the host reads: it plans.
struct HostChoices {
    MatrixView<const std::int32_t> expert;
    MatrixView<const float> weight;
    MatrixView<const std::uint8_t> kept;
    index_t first_token;
    index_t seq_len;
};

void check_shapes(const HostChoices& choices) {
    const index_t num_tokens = choices.expert.rows;
    const index_t top_k = choices.expert.cols;
    SY_REQUIRE(choices.weight.rows == num_tokens && choices.kept.rows == num_tokens &&
                   choices.weight.cols == top_k && choices.kept.cols == top_k,
               "dispatch plan: experts [", num_tokens, ", ", top_k, "], weights [", choices.weight.rows, ", ",
               choices.weight.cols, "], kept [", choices.kept.rows, ", ", choices.kept.cols, "]");
    SY_REQUIRE(choices.first_token >= 0 && choices.seq_len >= 1, "dispatch plan: sequences of ",
               choices.seq_len, " tokens from token ", choices.first_token);
    SY_REQUIRE(num_tokens * top_k <= std::numeric_limits<std::int32_t>::max(), "dispatch plan: ", num_tokens,
               " tokens with ", top_k, " choices each on one rank; use smaller micro-batches");
}

/// Where the choices of a source go.
class Destinations {
  public:
    Destinations(const HostChoices& choices, const Placement& placement, int source)
        : choices_(choices),
          placement_(placement),
          source_(source),
          rank_of_expert_(placement.num_experts()) {}

    /// Rank of each expert for token t.
    PerExpertSpan<const int> of_token(index_t t) {
        const index_t sequence =
            placement_.num_shadows() == 0 ? 0 : (choices_.first_token + t) / choices_.seq_len;
        if (sequence != sequence_) {
            sequence_ = sequence;
            for (index_t e = 0; e < rank_of_expert_.size(); ++e)
                rank_of_expert_[e] = placement_.rank_for(e, source_, sequence);
        }
        return rank_of_expert_;
    }

  private:
    const HostChoices& choices_;
    const Placement& placement_;
    int source_;
    PerExpert<int> rank_of_expert_;
    index_t sequence_ = kNothing;
};

/// Rows and slots to each rank, as offsets.
void count_rows(const HostChoices& choices, const Placement& placement, const Units& units, int rank,
                SendPlan& plan) {
    Destinations destinations(choices, placement, rank);
    const PerRank<int>& node_of_rank = units.topology().node_of_rank;
    PerUnit<index_t> num_rows(units.num_units(), 0);
    Indexed<PlaceAxis, index_t> num_slots(units.num_ranks(), 0);
    PerUnit<index_t> last_of_unit(units.num_units(), kNothing);
    PerNode<index_t> last_of_node(units.topology().num_nodes(), kNothing);
    for (index_t t = 0; t < choices.expert.rows; ++t) {
        const PerExpertSpan<const int> rank_of_expert = destinations.of_token(t);
        for (index_t j = 0; j < choices.expert.cols; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const std::int32_t expert = choices.expert(t, j);
            SY_REQUIRE(expert >= 0 && expert < placement.num_experts(), "dispatch plan: choice ", j,
                       " of token ", t, " is expert ", expert, " of ", placement.num_experts());
            const int destination = rank_of_expert[expert];
            const int unit = units.unit_of(destination);
            ++num_slots[units.place_of(destination)];
            if (last_of_unit[unit] == t) continue;
            last_of_unit[unit] = t;
            ++num_rows[unit];
            const int node = node_of_rank[destination];
            if (node == node_of_rank[rank] || last_of_node[node] == t) continue;
            last_of_node[node] = t;
            ++plan.least_network_rows;
        }
    }
    plan.row_offsets = UnitOffsets::of_counts(num_rows);
    plan.slot_offsets = PlaceOffsets::of_counts(num_slots);
}

}  // namespace

SendPlan make_send_plan(const Choices& given, const Placement& placement, const Units& units, int rank) {
    SY_REQUIRE(placement.num_ranks() == units.num_ranks(), "dispatch plan: placement over ",
               placement.num_ranks(), " ranks in a group of ", units.num_ranks());
    const HostChoices choices{
        host<const std::int32_t>(given.expert.readable()), host<const float>(given.weight.readable()),
        host<const std::uint8_t>(given.kept.readable()), given.first_token, given.seq_len};
    check_shapes(choices);
    const index_t top_k = choices.expert.cols;
    SendPlan plan;
    plan.num_tokens = choices.expert.rows;
    count_rows(choices, placement, units, rank, plan);
    plan.row_token.resize(plan.num_rows());
    plan.slots.resize(plan.num_slots());
    plan.slot_row.resize(plan.num_slots());
    plan.slot_of_choice.assign(plan.num_tokens * top_k, kNothing);
    PerUnit<index_t> next_row = plan.row_offsets.begins();
    Indexed<PlaceAxis, index_t> next_slot = plan.slot_offsets.begins();
    PerUnit<index_t> last_token(units.num_units(), kNothing);
    Destinations destinations(choices, placement, rank);
    // Tokens and choices in ascending order fill every destination in the order of SendPlan::slots.
    for (index_t t = 0; t < plan.num_tokens; ++t) {
        const PerExpertSpan<const int> rank_of_expert = destinations.of_token(t);
        for (index_t j = 0; j < top_k; ++j) {
            if (choices.kept(t, j) == 0) continue;
            const std::int32_t expert = choices.expert(t, j);
            const int destination = rank_of_expert[expert];
            const int unit = units.unit_of(destination);
            if (last_token[unit] != t) {
                last_token[unit] = t;
                plan.row_token[next_row[unit]++] = static_cast<std::int32_t>(t);
            }
            const index_t row = next_row[unit] - 1;
            const index_t slot = next_slot[units.place_of(destination)]++;
            plan.slots[slot] = {static_cast<std::int32_t>(row - plan.row_offsets[unit].begin), expert,
                                static_cast<std::int32_t>(j), static_cast<std::int32_t>(t),
                                choices.weight(t, j)};
            plan.slot_row[slot] = static_cast<std::int32_t>(row);
            plan.slot_of_choice[t * top_k + j] = static_cast<std::int32_t>(slot);
        }
    }
    return plan;
}

std::string SendPlan::to_string() const {
    return concat("send ", num_rows(), " rows, ", num_slots(),
                  " slots: ", list("row offsets", row_offsets.edges()), ", ",
                  list("slot offsets", slot_offsets.edges()), ", ", list<std::int32_t>("tokens", row_token));
}

}  // namespace sy::comm
