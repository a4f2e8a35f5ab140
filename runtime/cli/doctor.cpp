#include <cstdlib>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_inspection.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "comm/topology/topology.hpp"
#include "comm/ucx/ucx_communicator.hpp"
#include "comm/ucx/ucx_inspection.hpp"
#include "kernels/cuda/module.hpp"
#include "runtime/checkpoint/hdf5/library.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/cli/doctor_text.hpp"
#include "runtime/cli/machine.hpp"
#include "runtime/telemetry/records.hpp"

namespace sy::runtime {
namespace {

std::string launcher() {
    if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr && std::getenv("SLURM_STEP_ID") == nullptr)
        return "mpirun of Open MPI";
    if (std::getenv("SLURM_STEP_ID") != nullptr) return "srun of Slurm, or mpirun inside a step of it";
    return "one that speaks PMI";
}

std::string ucx() {
    if (!comm::ucx_available()) return "not in this binary (SY_WITH_UCX)";
    std::string text = comm::ucx_version() + "; could use";
    const std::vector<std::string> transports = comm::ucx_transports();
    for (const std::string& transport : transports) text += " " + transport;
    return transports.empty() ? text + " nothing here" : text;
}

/// GPUs that this process could use, or why none.
std::string gpu() {
    try {
        const std::size_t number = visible_gpus().size();
        const std::unique_ptr<Gpu> first = make_cuda_device(0);
        return concat(number,
                      number == 1 ? " is visible: " : " are visible, the first: ", first->names().model, ", ",
                      first->names().architecture, "; parallel.device = cuda takes one a rank\nproducts by ",
                      first->products_note());
    } catch (const ConfigError& error) {
        return error.what();
    }
}

/// What every rank sees of its own machine; rank 0 speaks of the one it is on.
std::vector<Finding> binary_and_machine(const std::string& instructions) {
    return {{"switchyard", SY_VERSION},
            {"compiler", __VERSION__},
            {"processor", processor_counts() + "\n" + processor_features()},
            {"instruction set", instructions},
            {"memory", memory_text()},
            {"huge pages", huge_pages_text()},
            {"HDF5", hdf5_library()},
            {"UCX", ucx()},
            {"GPU", gpu()},
            {"MPI", comm::MpiSession::library_version()}};
}

/// Ranks on other machines may have other libraries and processors: rank 0's text, and of others what differs from it.
/// @par Collective
std::string of_all_ranks(comm::Communicator& world, const std::string& text) {
    const std::vector<std::string> texts = comm::all_gather(world, text);
    std::string result = texts[0];
    for (std::size_t rank = 1; rank < texts.size(); ++rank) {
        if (texts[rank] != texts[0]) result += concat("\nrank ", rank, ": ", texts[rank]);
    }
    return result;
}

/// @par Collective  every rank says where it is
std::vector<RankPlace> gather_places(comm::Communicator& world) {
    const comm::Topology topology = comm::discover_topology(world);
    const comm::PerRank<std::string> hosts(comm::all_gather(world, host_name()));
    const comm::PerRank<std::string> processors(comm::all_gather(world, bound_processors()));
    std::vector<RankPlace> places;
    for (int rank = 0; rank < world.size(); ++rank)
        places.push_back({topology.node_of_rank[rank], hosts[rank], processors[rank]});
    return places;
}

}  // namespace

std::string doctor_report() {
    if (!comm::launched_by_mpi()) {
        std::vector<Finding> findings = binary_and_machine(instruction_set());
        findings.push_back(
            {"MPI messages", comm::messaging_text(comm::inspect_messaging(), comm::MpiState::not_started)});
        findings.push_back({"launcher", "none: a run here has one rank, without MPI"});
        const RankPlace here{0, host_name(), bound_processors()};
        findings.push_back({"ranks", "1\n" + ranks_text(std::span<const RankPlace>(&here, 1))});
        return findings_text(findings);
    }
    const comm::MpiSession mpi;
    const std::unique_ptr<comm::Communicator> world =
        mpi.world({.deadline = std::chrono::seconds(60), .name = "world"});
    const std::vector<RankPlace> places = gather_places(*world);
    const std::string messages = comm::messaging_text(comm::inspect_messaging(), comm::MpiState::started);
    const std::string all_messages = of_all_ranks(*world, messages);
    const std::string all_instructions = of_all_ranks(*world, instruction_set());
    const bool speaks = world->rank() == 0;
    const int num_ranks = world->size();
    world->close();
    if (!speaks) return {};
    std::vector<Finding> findings = binary_and_machine(all_instructions);
    findings.push_back({"MPI threads", concat("funneled requested, ", mpi.thread_level(), " provided")});
    findings.push_back({"MPI messages", all_messages});
    findings.push_back({"launcher", launcher()});
    findings.push_back({"ranks", concat(num_ranks, "\n", ranks_text(places))});
    return findings_text(findings);
}

}  // namespace sy::runtime
