#include "runtime/sim/simulation.hpp"

#include <smpi/smpi.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>
#include <simgrid/s4u.hpp>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "runtime/sim/wire.hpp"

namespace sy::runtime::sim {
namespace {

namespace s4u = simgrid::s4u;

/// What the process of a simulation leaves to the one that waits for it.
struct Outcome {
    Simulated result;
    bool is_complete = false;
    std::array<char, 1024> problem{};
};

class SimulatedGround : public Ground {
  public:
    SimulatedGround(Wire& wire, double copy_bandwidth) : wire_(wire), copy_bandwidth_(copy_bandwidth) {}
    double now() const override { return s4u::Engine::get_clock(); }
    void compute(double seconds, const std::function<void()>& stand_in) override {
        stand_in();
        pass(seconds);
    }
    void copy(double bytes) override { pass(bytes / copy_bandwidth_); }
    void carry(Cargo cargo) override { wire_.carry(cargo); }

  private:
    static void pass(double seconds) {
        if (seconds > 0.0) s4u::this_actor::sleep_for(seconds);
    }

    Wire& wire_;
    double copy_bandwidth_;
};

/// Memory in small pieces: a rank of many has little.
struct SmallSlabs {
    struct alignas(64) Line {
        std::array<std::byte, 64> bytes;
    };
    std::byte* slab(index_t bytes) {
        slabs.push_back(std::make_unique<Line[]>(static_cast<std::size_t>(ceil_div(bytes, 64))));
        return slabs.back()[0].bytes.data();
    }
    std::vector<std::unique_ptr<Line[]>> slabs;
};

class SmallDevice : private SmallSlabs, public CpuDevice {
  public:
    SmallDevice()
        : CpuDevice(1, {.name = "cpu",
                        .bodies = ops::kCpuBodies,
                        .slab_bytes = index_t{64} << 10,
                        .map_slab = [this](index_t bytes) { return slab(bytes); },
                        .compute = nullptr,
                        .transfer = nullptr}) {}
};

/// What the simulator is told beside the platform: nothing but the links costs time, and tests for messages none.
void configure(double precision) {
    for (const char* setting :
         {"smpi/simulate-computation:no", "smpi/host-speed:1Gf", "smpi/test:0", "smpi/iprobe:0",
          "smpi/wtime:0", "smpi/send-is-detached-thresh:0", "smpi/bw-factor:1", "smpi/lat-factor:1",
          "network/model:CM02", "network/crosstraffic:0", "network/TCP-gamma:0", "contexts/stack-size:1024"})
        s4u::Engine::set_config(setting);
    if (precision > 0.0) s4u::Engine::set_config("surf/precision", precision);
}

/// SimGrid's callback below is told of nothing else; a process has one simulation.
const StandIn* stand_in_of_process = nullptr;

void copy_message(smx_activity_t message, void* from, size_t bytes) {
    if (stand_in_of_process->contains(from)) return;
    // SimGrid shows neither type, but its own callback gets the one as the other in the same way.
    smpi_comm_copy_buffer_callback(reinterpret_cast<simgrid::kernel::activity::CommImpl*>(message), from,
                                   bytes);
}

void run_rank(const Point& point, const std::function<RankRouting(int)>& routing_of, Outcome& outcome) {
    comm::MpiSession session;
    comm::Communicator::Settings settings;
    settings.deadline = std::chrono::hours(1);
    const auto world = session.world(settings, index_t{1} << 30, comm::MpiCollectiveBody::own);
    const comm::Topology topology = comm::discover_topology(*world);
    SmallDevice device;
    const Context context{device, device.compute()};
    Wire wire(*world, topology, *stand_in_of_process, point.layer.hidden / point.layer.carried);
    SimulatedGround ground(wire, point.copy_bandwidth);
    const RankRouting routing = routing_of(world->rank());
    const auto exchange = comm::make_exchange(point.exchange, wire, topology, context);
    const LayerTimes times = run_layer(point.layer, routing, *exchange, wire, ground, context, 1);
    exchange->close();
    // A dispatch and a return by themselves, forward, and backward.
    double sent[] = {static_cast<double>(wire.row_bytes(Wire::Level::node)) / 3.0,
                     static_cast<double>(wire.row_bytes(Wire::Level::network)) / 3.0};
    comm::all_reduce(*world, std::span<double>(sent));
    if (world->rank() != 0) return;
    outcome.result.times = times;
    outcome.result.sent_in_node = sent[0];
    outcome.result.sent_to_network = sent[1];
    outcome.is_complete = true;
}

/// The life of the process of a simulation.
void run_all(const Point& point, const std::function<RankRouting(int)>& routing_of, Outcome& outcome) {
    std::string name = "switchyard-sim";
    std::string quiet = "--log=root.thresh:error";
    std::array<char*, 3> arguments{name.data(), quiet.data(), nullptr};
    int num_arguments = 2;
    s4u::Engine engine(&num_arguments, arguments.data());
    configure(point.num_ranks > point.precise_ranks ? point.precision : 0.0);
    const StandIn stand_in;
    stand_in_of_process = &stand_in;
    const std::vector<s4u::Host*> hosts = make_platform(point.platform);
    SMPI_init();
    smpi_comm_set_copy_data_callback(copy_message);
    SMPI_app_instance_register("switchyard", nullptr, point.num_ranks);
    for (int rank = 0; rank < point.num_ranks; ++rank) {
        s4u::Host* const host = hosts[static_cast<std::size_t>(rank / point.ranks_per_node)];
        const s4u::ActorPtr actor = s4u::Actor::init(concat("rank-", rank), host);
        actor->set_property("instance_id", "switchyard");
        actor->set_property("rank", std::to_string(rank));
        actor->start([&, rank] {
            try {
                run_rank(point, routing_of, outcome);
            } catch (const std::exception& error) {
                const std::string text = concat("rank ", rank, ": ", error.what());
                text.copy(outcome.problem.data(), outcome.problem.size() - 1);
                std::_Exit(1);
            }
        });
    }
    engine.run();
    SMPI_finalize();
}

}  // namespace

Simulated simulate(const Point& point, const std::function<RankRouting(int)>& routing_of) {
    void* const shared =
        mmap(nullptr, sizeof(Outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        throw IoError(concat("simulation: memory for its outcome: ", std::strerror(errno)));
    const auto release = [](Outcome* outcome) { munmap(outcome, sizeof(Outcome)); };
    const std::unique_ptr<Outcome, decltype(release)> outcome(new (shared) Outcome, release);
    const auto start = std::chrono::steady_clock::now();
    const pid_t process = fork();
    if (process < 0) throw IoError(concat("simulation: a process for it: ", std::strerror(errno)));
    if (process == 0) {
        run_all(point, routing_of, *outcome);
        std::_Exit(0);
    }
    int status = 0;
    if (waitpid(process, &status, 0) != process)
        throw IoError(concat("simulation: waiting for its process: ", std::strerror(errno)));
    if (!outcome->is_complete || status != 0)
        throw CommError(concat("simulation of ", point.num_ranks, " ranks failed: ",
                               outcome->problem[0] != '\0' ? outcome->problem.data()
                               : WIFSIGNALED(status)
                                   ? concat("its process ended with signal ", WTERMSIG(status),
                                            "; did the machine run out of memory?")
                                   : std::string("the simulator stopped; see above")));
    outcome->result.wall_seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return outcome->result;
}

}  // namespace sy::runtime::sim
