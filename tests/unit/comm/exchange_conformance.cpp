// What every Exchange must do: plan, dispatch, experts, return and combine give what one dense computation gives.
// T tokens of a group, K choices, E experts, H hidden. Values are small multiples of powers of two, so that sums are exact
// in any order and results are compared bit by bit.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "comm/topology/topology.hpp"
#include "comm/ucx/ucx_communicator.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "tests/support/session.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/comm/device_array.hpp"
#include "tests/unit/comm/exchange_problem.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;

using LocalExperts = Indexed<LocalExpertAxis, index_t>;

/// body(local expert, slot)
template <class Body>
void for_each_slot(const SlotChunk& chunk, Body body) {
    for (index_t l = 0; l < chunk.experts.num_groups(); ++l) {
        for (index_t i = chunk.experts[l].begin; i < chunk.experts[l].end; ++i)
            body(l, chunk.slots.begin + i);
    }
}

/// Every slot of the plan must be a kept choice of its token for its expert, with its weight: counts them by choice.
std::vector<std::int64_t> computed_choices(const Problem& problem, const DispatchPlan& plan,
                                           Communicator& group, const Placement& placement) {
    const Setup& setup = problem.setup;
    std::vector<std::int64_t> computed(problem.kept.size(), 0);
    const LocalExperts local = placement.experts_of(group.rank());
    for (const SlotChunk& chunk : plan.receive.chunks) {
        index_t last_token = -1;
        index_t last_expert = -1;
        for_each_slot(chunk, [&](index_t l, index_t s) {
            const Range theirs = problem.tokens_of(plan.receive.slot_source[s], group.size());
            const index_t t = theirs.begin + plan.receive.slot_token[s];
            SY_REQUIRE(l > last_expert || t >= last_token, "slots of expert ", local[l],
                       " are not in token order");
            last_expert = l;
            last_token = t;
            index_t found = -1;
            for (index_t j = 0; j < setup.top_k; ++j) {
                const std::size_t choice = at(t * setup.top_k + j);
                if (problem.kept[choice] != 0 && problem.expert[choice] == local[l])
                    found = static_cast<index_t>(choice);
            }
            SY_REQUIRE(found >= 0, "token ", t, " never chose expert ", local[l]);
            SY_REQUIRE(plan.receive.slot_weight[s] == problem.weight[at(found)], "another weight");
            ++computed[at(found)];
        });
    }
    return computed;
}

/// Where the cases of an exchange run: the processor, or a device that the host cannot reach.
struct OnDevice {
    test::FencedDevice* fenced = nullptr;

    /// While a test computes as the body of an operation would.
    class Body {
      public:
        explicit Body(const OnDevice& device) {
            if (device.fenced != nullptr) open_.emplace(*device.fenced, device.fenced->compute());
        }

      private:
        std::optional<test::FencedDevice::Access> open_;
    };
};

/// Rows that are on their way, through this rank's experts, weighted, and back: those of near chunks before the others have
/// arrived, or after results have started.
template <class T>
Tensor through_experts(PendingRows arriving, const DispatchPlan& plan, const LocalExperts& local,
                       index_t width, Exchange& exchange, const OnDevice& device = {}) {
    Tensor results = exchange.make_results(plan, width);
    const MatrixView<float> slots = results.matrix<float>().rows_of(plan.back.slots);
    Tensor arrived;
    std::optional<PendingRows> returning;
    for (const SlotChunk& chunk : plan.receive.chunks) {
        if (!chunk.near) arrived = arriving.wait();
        const auto rows =
            host<const T>(arrived.empty() ? arriving.near_rows() : std::as_const(arrived).ref());
        {
            const OnDevice::Body body(device);
            for_each_slot(chunk, [&](index_t l, index_t s) {
                for (index_t i = 0; i < width; ++i) {
                    const auto v = static_cast<float>(rows(plan.receive.slot_row[s], i));
                    slots(s, i) = plan.receive.slot_weight[s] * Problem::apply(local[l], v);
                }
            });
        }
        if (!chunk.near) returning.emplace(exchange.start_return(std::move(results), plan));
    }
    while (!returning->test()) continue;
    return returning->wait();
}

/// Where each exchange under test sees nodes.
struct Layout {
    ExchangeKind kind = ExchangeKind::flat;
    std::function<int(int rank, int num_ranks)> node_of_rank = [](int, int) { return 0; };
    const char* name = "flat on one node";

    Topology topology(int num_ranks) const {
        Topology topology;
        for (int rank = 0; rank < num_ranks; ++rank)
            topology.node_of_rank.push_back(node_of_rank(rank, num_ranks));
        return topology;
    }
    std::unique_ptr<Exchange> make(Communicator& group, const Context& context) const {
        return make_exchange(kind, group, topology(group.size()), context);
    }
};

/// All that this build has.
const std::vector<Layout>& layouts() {
    static const std::vector<Layout> all = [] {
        std::vector<Layout> made{
            {},
            {ExchangeKind::flat, [](int rank, int) { return rank / 2; }, "flat, two ranks a node"},
            {ExchangeKind::hierarchical, [](int, int) { return 0; }, "hierarchical on one node"},
            {ExchangeKind::hierarchical, [](int rank, int) { return rank; }, "hierarchical, a rank a node"},
            {ExchangeKind::hierarchical, [](int rank, int) { return rank / 2; },
             "hierarchical, two ranks a node"},
            {ExchangeKind::hierarchical, [](int rank, int) { return rank % 2; },
             "hierarchical, ranks dealt to two nodes"},
            {ExchangeKind::hierarchical,
             [](int rank, int num_ranks) { return rank == num_ranks - 1 && rank > 0 ? 1 : 0; },
             "hierarchical, a node with one rank only"},
        };
        if (ucx_available())
            made.push_back({ExchangeKind::one_sided, [](int rank, int) { return rank / 2; }, "one-sided"});
        return made;
    }();
    return all;
}

/// Whether ranks of a node read rows in memory that they share, or each gets those that it reads.
enum class InsideNodes { shared, relayed };

/// What all ranks together should have moved, counted from the choices alone, level by level.
ExchangeTraffic expected_traffic(const Problem& problem, const Layout& layout, InsideNodes inside,
                                 int num_ranks, const Placement& placement, index_t element_bytes) {
    const Setup& setup = problem.setup;
    const Topology topology = layout.topology(num_ranks);
    const bool by_node = layout.kind == ExchangeKind::hierarchical;
    const bool relayed = by_node && inside == InsideNodes::relayed;
    const Units units(layout.kind, topology);
    const index_t row_bytes = setup.hidden * element_bytes;
    const index_t result_bytes = setup.hidden * 4;
    ExchangeTraffic all;
    for (int source = 0; source < num_ranks; ++source) {
        const Range tokens = problem.tokens_of(source, num_ranks);
        const int home = topology.node_of_rank[source];
        for (index_t t = tokens.begin; t < tokens.end; ++t) {
            std::map<int, index_t> slots_of_unit;  // where they are computed
            std::map<int, index_t> slots_of_rank;
            std::set<int> nodes;
            index_t neighbours = 0;  // slots on other ranks of this rank's unit
            for (index_t j = 0; j < setup.top_k; ++j) {
                const std::size_t choice = at(t * setup.top_k + j);
                if (problem.kept[choice] == 0) continue;
                const int rank = placement.rank_for(problem.expert[choice], source, t / Problem::kSeqLen);
                const int node = topology.node_of_rank[rank];
                ++slots_of_unit[by_node ? node : rank];
                ++slots_of_rank[rank];
                if (node != home) nodes.insert(node);
                if (by_node && node == home && rank != source) ++neighbours;
            }
            all.network_bound += static_cast<index_t>(nodes.size()) * (row_bytes + result_bytes);
            for (const auto& [rank, slots] : slots_of_rank) {
                if (!relayed) continue;
                // The row goes on to each rank that reads it, and each result to whoever adds it up.
                const bool at_home = topology.node_of_rank[rank] == home;
                const int holder = at_home ? source : units.gateway(source, units.unit_of(rank));
                if (rank != holder) {
                    all.node += {1 + slots, row_bytes + slots * result_bytes};
                    all.metadata += slots * 4;
                } else if (at_home) {
                    all.rank += {1 + slots, row_bytes + slots * result_bytes};
                }
            }
            for (const auto& [unit, slots] : slots_of_unit) {
                if (relayed && unit == home) continue;
                if (unit == (by_node ? home : source)) {
                    (neighbours > 0 ? all.node : all.rank) += {1, row_bytes};
                    all.node += {neighbours, neighbours * result_bytes};
                    all.rank += {slots - neighbours, (slots - neighbours) * result_bytes};
                    continue;
                }
                const index_t back = setup.return_rows == ReturnRows::per_unit ? 1 : slots;
                const bool near = !by_node && topology.node_of_rank[unit] == home;
                (near ? all.node : all.network) += {1 + back, row_bytes + back * result_bytes};
                all.metadata += slots * (20 + 4);  // a record of five words, and a scalar that comes back
            }
        }
        // Counts: the rows to each other unit and the slots of each of its ranks, in 8 bytes.
        const std::set<int> all_nodes(topology.node_of_rank.begin(), topology.node_of_rank.end());
        if (by_node) {
            for (const int node : all_nodes)
                if (node != home) all.metadata += 8 * (1 + std::ranges::count(topology.node_of_rank, node));
        } else {
            all.metadata += 16 * (num_ranks - 1);
        }
    }
    return all;
}

void require_traffic(Communicator& group, const ExchangeTraffic& mine, const ExchangeTraffic& wanted) {
    const auto words_of = [](const ExchangeTraffic& traffic) {
        return std::vector<std::int64_t>{traffic.rank.rows,     traffic.rank.bytes,   traffic.node.rows,
                                         traffic.node.bytes,    traffic.network.rows, traffic.network.bytes,
                                         traffic.network_bound, traffic.metadata};
    };
    std::vector<std::int64_t> words = words_of(mine);
    all_reduce(group, std::span<std::int64_t>(words));
    require_equal<std::int64_t>(words, words_of(wanted),
                                "rows and bytes of rank, node and network, the network's bound, metadata");
}

template <class T>
void check_exchange(Communicator& group, const Setup& setup, const Layout& layout,
                    std::unique_ptr<FencedDevice> fenced = nullptr) {
    const Problem problem(setup);
    const OnDevice device{fenced.get()};
    const TestSession session(fenced ? TestSession(std::move(fenced), NumericsMode::fast) : TestSession(1));
    const Placement placement = problem.placement(group.size());
    const Range mine = problem.tokens_of(group.rank(), group.size());
    const auto exchange = layout.make(group, session.context);
    const DispatchPlan plan =
        exchange->plan(problem.choices(mine), placement, setup.return_rows, setup.chunks);

    std::vector<std::int64_t> computed = computed_choices(problem, plan, group, placement);
    all_reduce(group, std::span<std::int64_t>(computed));
    require_equal<std::int64_t>(computed, std::vector<std::int64_t>(problem.kept.begin(), problem.kept.end()),
                                "times each choice is computed");

    std::vector<T> x;
    for (index_t i = mine.begin * setup.hidden; i < mine.end * setup.hidden; ++i)
        x.push_back(T(problem.x[at(i)]));
    PendingRows arriving =
        exchange->start_dispatch(MatrixView<const T>(x.data(), mine.size(), setup.hidden), plan);
    std::fill(x.begin(), x.end(), T(1e30F));  // it may change after the call
    const LocalExperts local = placement.experts_of(group.rank());
    const Tensor back = through_experts<T>(std::move(arriving), plan, local, setup.hidden, *exchange, device);
    TestMatrix y(mine.size(), setup.hidden, 5);
    combine_returned(back, plan, Write::overwrite, y.view(), session.context);
    std::vector<float> expected;
    for (index_t t = mine.begin; t < mine.end; ++t) {
        for (index_t i = 0; i < setup.hidden; ++i) expected.push_back(problem.expected(t, i));
    }
    require_equal<float>(y.values, expected, "combined output");
    combine_returned(back, plan, Write::add, y.view(), session.context);
    for (float& value : expected) value *= 2;
    require_equal<float>(y.values, expected, "output combined twice");

    // One number a slot, here the expert's own, goes back to the choice it belongs to.
    PerSlot<float> slot_values;
    for (const SlotChunk& chunk : plan.receive.chunks)
        for_each_slot(chunk,
                      [&](index_t l, index_t) { slot_values.push_back(static_cast<float>(local[l] + 1)); });
    TestMatrix scalars(mine.size(), setup.top_k, 6);
    exchange->return_scalars(upload(std::span<const float>(slot_values), session.context), plan,
                             scalars.view());
    session.context.stream.synchronise(HostValues::kDeadline);
    expected.clear();
    for (index_t choice = mine.begin * setup.top_k; choice < mine.end * setup.top_k; ++choice)
        expected.push_back(problem.kept[at(choice)] != 0 ? static_cast<float>(problem.expert[at(choice)] + 1)
                                                         : 0.0F);
    require_equal<float>(scalars.values, expected, "returned scalars");

    require_traffic(group, exchange->traffic(),
                    expected_traffic(problem, layout,
                                     device.fenced != nullptr ? InsideNodes::relayed : InsideNodes::shared,
                                     group.size(), placement, dtype_bytes(dtype_of<T>::value)));
    const ExchangeTimes times = exchange->times();
    for (const PhaseTime& time : {times.plan, times.dispatch, times.back})
        SY_REQUIRE(time.exposed_seconds <= time.total_seconds, "waited ", time.exposed_seconds, " s of ",
                   time.total_seconds);
    exchange->close();
}

/// Those that every case is tried on. Random setups take their turns on all.
std::vector<const Layout*> common_layouts() {
    return {&layouts()[0], &layouts()[2], &layouts()[5]};
}

/// Both element types and both ways of returning; a failure names the setup.
/// @param only  null: the common layouts
void check_all_ways(Communicator& group, Setup setup, const Layout* only = nullptr) {
    const std::vector<const Layout*> tried = only != nullptr ? std::vector{only} : common_layouts();
    for (const Layout* const one : tried) {
        const Layout& layout = *one;
        for (const ReturnRows return_rows : {ReturnRows::per_unit, ReturnRows::per_choice}) {
            setup.return_rows = return_rows;
            try {
                setup.chunks = SlotChunks::one;
                check_exchange<float>(group, setup, layout);
                setup.chunks = SlotChunks::by_arrival;
                check_exchange<bf16>(group, setup, layout);
            } catch (const LogicError& error) {
                throw LogicError(concat(layout.name, ", ", setup.to_string(), ": ", error.what()));
            }
        }
    }
}

void equals_the_dense_computation(Communicator& world) {
    for (index_t top_k = 1; top_k <= 8; ++top_k) check_all_ways(world, {.experts = 8, .top_k = top_k});
    for (const Layout& layout : layouts()) check_all_ways(world, {.tokens = 90, .top_k = 3}, &layout);
}

void uneven_and_missing_experts(Communicator& world) {
    for (const index_t experts : {1, 2, 3, 7, 11}) {
        for (const ExpertsOn where :
             {ExpertsOn::blocks, ExpertsOn::rotated, ExpertsOn::last_rank, ExpertsOn::copied})
            check_all_ways(world,
                           {.experts = experts, .top_k = std::min<index_t>(experts, 2), .experts_on = where});
    }
}

void copies_of_experts(Communicator& world) {
    for (const TokensOn where : {TokensOn::all_ranks, TokensOn::first_rank, TokensOn::odd_ranks})
        check_all_ways(
            world,
            {.tokens = 97, .experts = 9, .top_k = 4, .tokens_on = where, .experts_on = ExpertsOn::copied});
}

void ranks_without_tokens(Communicator& world) {
    check_all_ways(world, {.tokens_on = TokensOn::first_rank});
    check_all_ways(world, {.tokens_on = TokensOn::odd_ranks});
    check_all_ways(world, {.tokens = 0});
    check_all_ways(world, {.tokens = 1});
}

void dropped_and_crowded(Communicator& world) {
    check_all_ways(world, {.chosen = Chosen::all_dropped});
    check_all_ways(world, {.chosen = Chosen::one_expert});
    check_all_ways(world, {.tokens = 700, .hidden = 33, .chosen = Chosen::one_expert});
}

void groups_of_a_grid(Communicator& world) {
    for (int expert_parallel = 1; expert_parallel < world.size(); ++expert_parallel) {
        if (world.size() % expert_parallel != 0) continue;
        const ProcessGrid grid = make_process_grid(world.size(), expert_parallel);
        GridCommunicators groups = split_grid(world, grid);
        // Each group exchanges tokens of its own at the same time.
        check_all_ways(*groups.expert_group,
                       {.seed = 100 + static_cast<std::uint64_t>(grid.data_parallel_rank(world.rank()))});
        groups.close();
    }
}

/// Outputs of all tokens for numbers whose sums round: [T, H], the same on all ranks.
std::vector<float> rounded_outputs(Communicator& group, ExpertsOn experts_on, TokensOn tokens_on,
                                   const Layout& layout) {
    const Setup setup{
        .tokens = 40, .experts = 7, .top_k = 4, .tokens_on = tokens_on, .experts_on = experts_on, .seed = 3};
    const Problem problem(setup);
    const TestMatrix x(setup.tokens, setup.hidden, 77);
    TestSession session(1);
    const Placement placement = problem.placement(group.size());
    const Range mine = problem.tokens_of(group.rank(), group.size());
    const auto exchange = layout.make(group, session.context);
    const DispatchPlan plan =
        exchange->plan(problem.choices(mine), placement, ReturnRows::per_choice, SlotChunks::by_arrival);
    const Tensor back = through_experts<float>(exchange->start_dispatch(x.view().rows_of(mine), plan), plan,
                                               placement.experts_of(group.rank()), setup.hidden, *exchange);
    TestMatrix y(mine.size(), setup.hidden);
    combine_returned(back.matrix<float>(), plan, Write::overwrite, y.view(), session.context);
    std::vector<float> all(at(setup.tokens * setup.hidden), 0.0F);
    std::copy(y.values.begin(), y.values.end(), all.begin() + mine.begin * setup.hidden);
    all_reduce(group, std::span<float>(all));  // every token on one rank: adds zeros
    exchange->close();
    return all;
}

void layout_does_not_show_per_choice(Communicator& world) {
    const std::unique_ptr<Communicator> alone = world.split(world.rank(), 0);
    const std::vector<float> expected = rounded_outputs(*alone, ExpertsOn::blocks, TokensOn::all_ranks, {});
    alone->close();
    SY_REQUIRE(std::count(expected.begin(), expected.end(), 0.0F) < 100, "hardly anything was computed");
    const std::unique_ptr<Communicator> reversed = world.split(0, -world.rank());
    for (Communicator* const group : {&world, reversed.get()}) {
        for (const ExpertsOn experts_on :
             {ExpertsOn::blocks, ExpertsOn::rotated, ExpertsOn::last_rank, ExpertsOn::copied}) {
            for (const TokensOn tokens_on : {TokensOn::all_ranks, TokensOn::odd_ranks}) {
                for (const Layout& layout : layouts())
                    require_equal<float>(rounded_outputs(*group, experts_on, tokens_on, layout), expected,
                                         "output of a layout");
            }
        }
    }
    reversed->close();
}

void two_dispatches_under_way(Communicator& world, const Layout& layout) {
    const Problem problem({.tokens = 60});
    TestSession session(1);
    const Range mine = problem.tokens_of(world.rank(), world.size());
    const auto exchange = layout.make(world, session.context);
    const DispatchPlan plan =
        exchange->plan(problem.choices(mine), problem.placement(world.size()), ReturnRows::per_unit);
    TestMatrix ones(mine.size(), 4);
    TestMatrix twos(mine.size(), 4);
    std::fill(ones.values.begin(), ones.values.end(), 1.0F);
    std::fill(twos.values.begin(), twos.values.end(), 2.0F);
    PendingRows first = exchange->start_dispatch(std::as_const(ones).view(), plan);
    PendingRows second = exchange->start_dispatch(std::as_const(twos).view(), plan);
    const Tensor second_rows = second.wait();
    const Tensor first_rows = first.wait();
    for (index_t r = 0; r < plan.receive.num_rows(); ++r)
        SY_REQUIRE(first_rows.matrix<float>()(r, 3) == 1.0F && second_rows.matrix<float>()(r, 3) == 2.0F,
                   "row ", r);
    exchange->close();
}

void two_dispatches_under_way(Communicator& world) {
    for (const Layout& layout : layouts()) two_dispatches_under_way(world, layout);
}

/// What ranks of a node share is used again and again, while some of them still read what was there before.
void shared_memory_is_used_again(Communicator& world) {
    const Problem problem({.tokens = 64, .hidden = 64});
    TestSession session(1);
    const Range mine = problem.tokens_of(world.rank(), world.size());
    for (const Layout& layout : layouts()) {
        const auto exchange = layout.make(world, session.context);
        const DispatchPlan plan =
            exchange->plan(problem.choices(mine), problem.placement(world.size()), ReturnRows::per_unit);
        index_t bytes = 0;
        for (int round = 0; round < 50; ++round) {
            TestMatrix x(mine.size(), 64);
            std::fill(x.values.begin(), x.values.end(), static_cast<float>(round));
            const Tensor rows = exchange->start_dispatch(std::as_const(x).view(), plan).wait();
            Tensor results = exchange->make_results(plan, 64);
            ops::gather_rows(rows, plan.receive.slot_row, results.ref().rows_of(plan.back.slots),
                             session.context);
            results = exchange->start_return(std::move(results), plan).wait();
            TestMatrix y(mine.size(), 64);
            combine_returned(results, plan, Write::overwrite, y.view(), session.context);
            for (index_t t = 0; t < mine.size(); ++t) {
                index_t num_kept = 0;
                for (index_t j = 0; j < problem.setup.top_k; ++j)
                    num_kept += problem.kept[at((mine.begin + t) * problem.setup.top_k + j)];
                for (index_t i = 0; i < 64; ++i)
                    SY_REQUIRE(y.view()(t, i) == static_cast<float>(round * num_kept), layout.name,
                               ": round ", round, ", token ", t, ": ", y.view()(t, i));
            }
            if (round == 10) bytes = exchange->reachable_bytes();
        }
        SY_REQUIRE(exchange->reachable_bytes() == bytes, layout.name, ": memory grew from ", bytes, " to ",
                   exchange->reachable_bytes());
        exchange->close();
    }
}

/// Encoded rows arrive as they are, and results in bf16 are added as floats: per choice exactly, per unit with one more
/// rounding.
void encoded_rows_and_rounded_results(Communicator& world, const Layout& layout) {
    const Problem problem({.tokens = 50, .top_k = 3, .hidden = 35});
    const Setup& setup = problem.setup;
    TestSession session(1);
    const Range mine = problem.tokens_of(world.rank(), world.size());
    const Placement placement = problem.placement(world.size());
    const LocalExperts local = placement.experts_of(world.rank());
    const auto exchange = layout.make(world, session.context);
    const auto byte_of = [](index_t t, index_t i) { return static_cast<std::uint8_t>(t * 37 + i * 11); };
    std::vector<std::uint8_t> bytes;
    for (index_t t = mine.begin; t < mine.end; ++t)
        for (index_t i = 0; i < setup.hidden; ++i) bytes.push_back(byte_of(t, i));
    // What the slot of a choice returns: not a bf16 by itself.
    const auto output = [&](index_t t, index_t expert, index_t i) {
        return bf16(problem.x[at(t * setup.hidden + i)] * 1.0009765625F + static_cast<float>(expert) / 3.0F);
    };
    for (const ReturnRows return_rows : {ReturnRows::per_choice, ReturnRows::per_unit}) {
        const DispatchPlan plan = exchange->plan(problem.choices(mine), placement, return_rows);
        const Tensor rows =
            exchange
                ->start_dispatch(MatrixView<const std::uint8_t>(bytes.data(), mine.size(), setup.hidden),
                                 plan)
                .wait();
        Tensor results = exchange->make_results(plan, setup.hidden, DType::bf16);
        const MatrixView<bf16> slots = results.matrix<bf16>().rows_of(plan.back.slots);
        for_each_slot(plan.receive.chunks.front(), [&](index_t l, index_t s) {
            const index_t t = problem.tokens_of(plan.receive.slot_source[s], world.size()).begin +
                              plan.receive.slot_token[s];
            for (index_t i = 0; i < setup.hidden; ++i) {
                SY_REQUIRE(rows.matrix<std::uint8_t>()(plan.receive.slot_row[s], i) == byte_of(t, i),
                           layout.name, ": byte ", i, " of token ", t);
                slots(s, i) = output(t, local[l], i);
            }
        });
        const Tensor back = exchange->start_return(std::move(results), plan).wait();
        TestMatrix y(mine.size(), setup.hidden);
        combine_returned(back, plan, Write::overwrite, y.view(), session.context);
        for (index_t t = mine.begin; t < mine.end; ++t) {
            for (index_t i = 0; i < setup.hidden; ++i) {
                float sum = 0.0F;
                float size = 0.0F;
                for (index_t j = 0; j < setup.top_k; ++j) {
                    const std::size_t choice = at(t * setup.top_k + j);
                    if (problem.kept[choice] == 0) continue;
                    const auto value = static_cast<float>(output(t, problem.expert[choice], i));
                    sum += value;
                    size += std::abs(value);
                }
                const float error = std::abs(y.view()(t - mine.begin, i) - sum);
                SY_REQUIRE(error <= (return_rows == ReturnRows::per_choice ? 0.0F : size * 0x1p-8F),
                           layout.name, ": token ", t, ", value ", i, " is off by ", error);
            }
        }
    }
    exchange->close();
}

void misuse_is_refused(Communicator& world) {
    const Problem problem({.tokens = 8 * world.size()});
    TestSession session(1);
    const Range mine = problem.tokens_of(world.rank(), world.size());
    const auto exchange = layouts()[0].make(world, session.context);
    const Choices choices = problem.choices(mine);
    require_throws<LogicError>(
        [&] { exchange->plan(choices, block_placement(6, world.size() + 1), ReturnRows::per_unit); },
        "a placement over more ranks");
    const DispatchPlan plan = exchange->plan(choices, problem.placement(world.size()), ReturnRows::per_unit);
    require_throws<LogicError>(
        [&] {
            exchange->start_return(Tensor(session.context.device, DType::f32, {plan.back.num_results + 1, 4}),
                                   plan);
        },
        "a result too many");
    const std::vector<float> values(at(plan.receive.num_slots() + 1));
    TestMatrix out(mine.size(), problem.setup.top_k);
    require_throws<LogicError>(
        [&] { exchange->return_scalars(host_operand(std::span(values)), plan, out.view()); },
        "a scalar too many");
    const std::span<const float> right = std::span<const float>(values).first(at(plan.receive.num_slots()));
    TestMatrix wide(mine.size(), problem.setup.top_k + 1);
    require_throws<LogicError>([&] { exchange->return_scalars(host_operand(right), plan, wide.view()); },
                               "a choice too many");
    const TestMatrix x(mine.size() + 1, 4);
    require_throws<LogicError>([&] { exchange->start_dispatch(x.view(), plan); }, "a token too many");
}

/// Rows in memory that the host cannot reach, of operations that are done when they are waited for.
void device_behind_a_fence(Communicator& world) {
    for (const Layout& layout : layouts()) {
        if (layout.kind == ExchangeKind::one_sided) continue;
        for (const ReturnRows return_rows : {ReturnRows::per_unit, ReturnRows::per_choice}) {
            behind_a_fence([&](const auto& make_device) {
                Setup setup{.tokens = 50, .top_k = 3, .return_rows = return_rows};
                for (const SlotChunks chunks : {SlotChunks::one, SlotChunks::by_arrival}) {
                    setup.chunks = chunks;
                    try {
                        check_exchange<float>(world, setup, layout, make_device());
                        check_exchange<bf16>(world, setup, layout, make_device());
                    } catch (const LogicError& error) {
                        throw LogicError(concat(layout.name, ", ", setup.to_string(), ": ", error.what()));
                    }
                }
            });
        }
    }
}

/// Layouts, counts and choices drawn from a seed. SWITCHYARD_TEST_SEED repeats one of them.
void random_setups(Communicator& world) {
    const char* const wanted = std::getenv("SWITCHYARD_TEST_SEED");
    const std::uint64_t first = wanted == nullptr ? 1000 : std::strtoull(wanted, nullptr, 10);
    for (std::uint64_t seed = first; seed < first + (wanted == nullptr ? 25 : 1); ++seed) {
        Draws draws(seed);
        Setup setup;
        setup.seed = seed;
        setup.tokens = draws.below(120);
        setup.experts = 1 + draws.below(16);
        setup.top_k = 1 + draws.below(std::min<index_t>(8, (setup.experts + 1) / 2));
        setup.hidden = 1 + draws.below(40);
        setup.tokens_on = static_cast<TokensOn>(draws.below(3));
        setup.experts_on = static_cast<ExpertsOn>(draws.below(4));
        check_all_ways(world, setup, &layouts()[seed % layouts().size()]);
    }
}

constexpr ConformanceCase kCases[] = {
    {"exchange: equals the dense computation for 1 to 8 choices, in float and bf16",
     equals_the_dense_computation},
    {"exchange: experts need not be even, and ranks may hold none", uneven_and_missing_experts},
    {"exchange: copies of an expert share its choices, each computed once", copies_of_experts},
    {"exchange: ranks may hold no token", ranks_without_tokens},
    {"exchange: all choices dropped, or all on one expert", dropped_and_crowded},
    {"exchange: several groups of a process grid exchange at the same time", groups_of_a_grid},
    {"exchange: the layout does not show when outputs return per choice", layout_does_not_show_per_choice},
    {"exchange: two dispatches under way do not mix",
     [](Communicator& world) { two_dispatches_under_way(world); }},
    {"exchange: memory that ranks of a node share is used again", shared_memory_is_used_again},
    {"exchange: encoded rows arrive as they are, and results may be bf16",
     [](Communicator& world) {
         for (const Layout& layout : layouts()) encoded_rows_and_rounded_results(world, layout);
     }},
    {"exchange: rows of a device that the host cannot reach", device_behind_a_fence},
    {"exchange: shapes that do not fit the plan are refused", misuse_is_refused},
    {"exchange: random setups compute every kept choice once", random_setups},
};

}  // namespace

std::span<const ConformanceCase> exchange_cases() {
    return kCases;
}

}  // namespace sy::test
