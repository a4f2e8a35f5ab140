// Runs the layer that switchyard-sim simulates for real, under mpirun, with the same options and the same output.
//   measured_layer OPTION...   arithmetic is slept through, so that ranks that share a core do not wait for each other
//   measured_layer link        "GBYTES LATENCY_US NODE_GBYTES NODE_LATENCY_US COPY_GBYTES", measured by messages between all
//                              ranks of two nodes, then of one, both ways at once, and by gathering rows
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <thread>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "runtime/sim/report.hpp"

namespace sy::runtime::sim {
namespace {

using Clock = std::chrono::steady_clock;

class RealGround : public Ground {
  public:
    explicit RealGround(comm::Communicator& world) : world_(world) {}
    double now() const override {
        return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
    }
    /// Messages move on meanwhile, as they do between the tasks of an operation.
    void compute(double seconds, const std::function<void()>& stand_in) override {
        const double end = now() + seconds;
        stand_in();
        for (double left = end - now(); left > 0.0; left = end - now()) {
            world_.poll();
            std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 2e-4)));
        }
    }
    void copy(double) override {}
    void carry(Cargo) override {}

  private:
    comm::Communicator& world_;
};

/// Seconds of the slowest rank, the fastest of some tries that all ranks begin at once.
double fastest(comm::Communicator& world, const std::function<void()>& body) {
    double best = 1e9;
    for (int repeat = 0; repeat < 8; ++repeat) {
        comm::barrier(world);
        const auto start = Clock::now();
        body();
        double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        comm::all_reduce(world, std::span<double>(&seconds, 1), comm::ReduceOp::max);
        best = std::min(best, seconds);
    }
    return best;
}

/// Seconds of `bytes` each way between this rank and its partner, while all other pairs do the same.
double both_ways(comm::Communicator& world, int partner, index_t bytes) {
    const std::vector<std::byte> out(static_cast<std::size_t>(bytes));
    std::vector<std::byte> in(out.size());
    return fastest(world, [&] {
        if (partner < 0) return;
        constexpr int kTag = 1;
        std::vector<std::unique_ptr<comm::Request>> requests;
        requests.push_back(world.receive(in, partner, kTag));
        requests.push_back(world.send(out, partner, kTag));
        comm::wait_all(world, requests, "measuring of a link");
    });
}

/// Whom a rank exchanges messages with: the rank of the same number on the other of two nodes, or its neighbour on its own
/// node; -1: nobody.
int partner_of(const comm::Topology& topology, int rank, bool in_node) {
    const int node = topology.node_of_rank[rank];
    std::vector<int> mine;
    std::vector<int> others;
    for (int other = 0; other < topology.num_ranks(); ++other) {
        if (topology.node_of_rank[other] == node) mine.push_back(other);
        if (topology.node_of_rank[other] == 1 - node) others.push_back(other);
    }
    const auto number = static_cast<std::size_t>(std::ranges::find(mine, rank) - mine.begin());
    const std::size_t wanted = in_node ? (number ^ 1U) : number;
    const std::vector<int>& among = in_node ? mine : others;
    return wanted < among.size() ? among[wanted] : -1;
}

/// GB/s of a node's link each way, or of all messages inside a node, and microseconds of the shortest message.
void print_link(comm::Communicator& world) {
    const comm::Topology topology = comm::discover_topology(world);
    for (const bool in_node : {false, true}) {
        const int partner = partner_of(topology, world.rank(), in_node);
        // Messages of the ranks of node 0: one each way counts once between nodes, twice inside.
        index_t messages = topology.node_of_rank[world.rank()] == 0 && partner >= 0 ? 1 : 0;
        comm::all_reduce(world, std::span<index_t>(&messages, 1));
        SY_REQUIRE(messages > 0, "measuring of a link: needs two nodes with two ranks on the first");
        constexpr index_t kBytes = index_t{8} << 20;
        const double short_seconds = both_ways(world, partner, 8);
        const double long_seconds = both_ways(world, partner, kBytes);
        if (world.rank() == 0)
            std::cout << 1e-9 * static_cast<double>(messages * kBytes) / (long_seconds - short_seconds) << ' '
                      << 1e6 * short_seconds << ' ';
    }
}

/// GB/s that a rank reads and writes when it gathers rows, while all others do so.
void print_copying(comm::Communicator& world) {
    CpuDevice device(1);
    const Context context{device, device.compute()};
    constexpr index_t kRows = 2048;
    constexpr index_t kWidth = 1024;
    const Tensor from(device, DType::f32, {kRows, kWidth});
    Tensor to(device, DType::f32, {kRows, kWidth});
    std::vector<std::int32_t> rows(kRows);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int32_t>(i * 997 % kRows);
    const double seconds = fastest(world, [&] { ops::gather_rows(from, rows, to, context); });
    if (world.rank() == 0)
        std::cout << 1e-9 * 2.0 * static_cast<double>(kRows * kWidth) * sizeof(float) / seconds << '\n';
}

void measure(const Options& options, comm::Communicator& world) {
    ScalingReport report(std::cout, options);
    const comm::Topology topology = comm::discover_topology(world);
    CpuDevice device(1);
    const Context context{device, device.compute()};
    RealGround ground(world);
    for (const comm::ExchangeKind kind : options.exchanges) {
        Point point = options.point;
        point.num_ranks = world.size();
        point.exchange = kind;
        LayerShape& layer = point.layer;
        layer.carried = layer.hidden;
        layer.routing.experts = std::max<index_t>(layer.routing.experts, world.size());
        const RankRouting routing = make_routing(options.profile, layer.routing, world.rank());
        const auto exchange = comm::make_exchange(kind, world, topology, context);
        Simulated measured;
        measured.times = run_layer(layer, routing, *exchange, world, ground, context, 5);
        exchange->close();
        if (world.rank() == 0) report.add(point, measured);
    }
}

}  // namespace
}  // namespace sy::runtime::sim

int main(int argc, char** argv) {
    namespace sim = sy::runtime::sim;
    try {
        const sy::comm::MpiSession session;
        const auto world = session.world({});
        if (argc == 2 && std::string_view(argv[1]) == "link") {
            sim::print_link(*world);
            sim::print_copying(*world);
            return 0;
        }
        std::string help;
        const auto options = sim::parse_options(argc, argv, help);
        if (options) sim::measure(*options, *world);
        return 0;
    } catch (const std::exception& error) {
        std::cerr << "measured_layer: " << error.what() << '\n';
        sy::comm::MpiSession::abort(1);
    }
}
