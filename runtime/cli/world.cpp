#include "runtime/cli/world.hpp"

#include <cstdlib>

#include "comm/local/local_fabric.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"

namespace sy::runtime {
namespace {

void check_ranks(const ParallelConfig& parallel, int size) {
    if (parallel.ranks == 0 || parallel.ranks == size) return;
    throw ConfigError(concat("parallel.ranks = ", parallel.ranks, ", but the launcher started ", size,
                             " ranks; change one, or set parallel.ranks = 0 for any number"));
}

/// Several tasks of a Slurm step that do not know of each other would each be rank 0 and write the same files.
void refuse_separate_tasks() {
    const char* const tasks = std::getenv("SLURM_STEP_NUM_TASKS");
    if (tasks == nullptr || std::string(tasks) == "1") return;
    throw ConfigError(
        concat("srun started ", tasks,
               " tasks without telling them of each other; use srun --mpi=pmix, or mpirun inside the job"));
}

}  // namespace

void with_world(const ParallelConfig& parallel, const std::function<void(comm::Communicator&)>& body) {
    comm::Communicator::Settings settings;
    settings.deadline = std::chrono::seconds(parallel.deadline_seconds);
    if (!comm::launched_by_mpi()) {
        refuse_separate_tasks();
        check_ranks(parallel, 1);
        comm::LocalOptions options;
        options.settings = settings;
        comm::LocalFabric(1, options).run(body);
        return;
    }
    Hdf5File::start_library();
    const comm::MpiSession mpi;
    const std::unique_ptr<comm::Communicator> world = mpi.world(settings);
    check_ranks(parallel, world->size());
    body(*world);
}

}  // namespace sy::runtime
