// Runs the layer that switchyard-sim simulates for real, under mpirun, with the same options and the same output.
//   measured_layer OPTION...   arithmetic is slept through, so that ranks that share a core do not wait for each other
//   measured_layer link        "GBYTES LATENCY_US NODE_GBYTES NODE_LATENCY_US", measured with messages between two ranks of
//                              different nodes and of one
#include <algorithm>
#include <chrono>
#include <iostream>
#include <thread>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "kernels/ops/cpu_device.hpp"
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
    void compute(double seconds) override {
        const double end = now() + seconds;
        for (double left = seconds; left > 0.0; left = end - now()) {
            world_.poll();
            std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 2e-4)));
        }
    }
    void copy(double) override {}
    void carry(Cargo) override {}

  private:
    comm::Communicator& world_;
};

/// Seconds of a message there and an answer back, the fastest of some.
double round_trip(comm::Communicator& world, int other, std::vector<std::byte>& bytes) {
    constexpr int kTag = 1;
    double best = 1e9;
    for (int repeat = 0; repeat < 8; ++repeat) {
        comm::barrier(world);
        const auto start = Clock::now();
        const auto transfer = [&](bool sends, int peer) {
            std::vector<std::unique_ptr<comm::Request>> requests;
            requests.push_back(sends ? world.send(bytes, peer, kTag) : world.receive(bytes, peer, kTag));
            comm::wait_all(world, requests, "measuring of a link");
        };
        if (world.rank() == 0) {
            transfer(true, other);
            transfer(false, other);
        } else if (world.rank() == other) {
            transfer(false, 0);
            transfer(true, 0);
        }
        best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best;
}

void print_link(comm::Communicator& world) {
    const comm::Topology topology = comm::discover_topology(world);
    for (const bool in_node : {false, true}) {
        int other = -1;
        for (int rank = world.size() - 1; rank > 0; --rank)
            if ((topology.node_of_rank[rank] == topology.node_of_rank[0]) == in_node) other = rank;
        SY_REQUIRE(other > 0, "measuring of a link: needs two nodes with two ranks on the first");
        std::vector<std::byte> small(8);
        std::vector<std::byte> large(std::size_t{8} << 20);
        const double short_seconds = round_trip(world, other, small) / 2.0;
        const double long_seconds = round_trip(world, other, large) / 2.0;
        if (world.rank() == 0)
            std::cout << 1e-9 * static_cast<double>(large.size()) / (long_seconds - short_seconds) << ' '
                      << 1e6 * short_seconds << (in_node ? '\n' : ' ');
    }
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
