#include "runtime/train/processors.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>

#include "comm/collectives.hpp"

namespace sy::runtime {
namespace {

struct FreeSet {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};

int count_allowed(const std::string& mask) {
    return static_cast<int>(std::count(mask.begin(), mask.end(), '1'));
}

bool allows(const std::string& mask, std::size_t processor) {
    return processor < mask.size() && mask[processor] == '1';
}

/// The quota of the control group that a container sees as its own.
std::optional<double> quota_of_container() {
    std::ifstream file("/sys/fs/cgroup/cpu.max");
    return processor_quota({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
}

}  // namespace

std::string allowed_processors() {
    // The kernel refuses a set that has no room for all processors that it knows.
    for (std::size_t room = CPU_SETSIZE; room <= (std::size_t{1} << 20); room *= 2) {
        const std::unique_ptr<cpu_set_t, FreeSet> set(CPU_ALLOC(room));
        if (!set) throw std::bad_alloc();
        const std::size_t bytes = CPU_ALLOC_SIZE(room);
        if (::sched_getaffinity(0, bytes, set.get()) != 0) {
            if (errno == EINVAL) continue;
            break;
        }
        std::string mask;
        for (std::size_t processor = 0; processor < room; ++processor) {
            if (CPU_ISSET_S(processor, bytes, set.get()) != 0)
                mask.append(processor - mask.size(), '0') += '1';
        }
        return mask;
    }
    throw Error(concat("sched_getaffinity: cannot ask which processors this process may run on: ",
                       std::strerror(errno), "; set parallel.threads"));
}

std::optional<double> processor_quota(const std::string& text) {
    std::istringstream words(text);
    double microseconds = 0.0;
    double period = 0.0;
    // "max" is no number.
    if (!(words >> microseconds >> period) || microseconds <= 0.0 || period <= 0.0) return std::nullopt;
    return microseconds / period;
}

int processor_share(std::span<const std::string> masks, std::size_t own) {
    double share = 0.0;
    for (std::size_t processor = 0; processor < masks[own].size(); ++processor) {
        if (!allows(masks[own], processor)) continue;
        const auto ranks = std::ranges::count_if(
            masks, [processor](const std::string& mask) { return allows(mask, processor); });
        share += 1.0 / static_cast<double>(ranks);
    }
    // Thirds do not add up to exactly 1.
    return std::max(1, static_cast<int>(std::floor(share + 1e-6)));
}

std::string processor_note(const ProcessorUse& use) {
    const auto counted = [](int count) { return concat(count, count == 1 ? " processor" : " processors"); };
    const char* const remedy = use.by_mpirun ? "start mpirun with --bind-to none, as jobs/launch does"
                                             : "give each rank more of them";
    if (use.threads > use.allowed) {
        return concat("this rank has ", use.threads, " threads and may run on ", counted(use.allowed),
                      ", where they take turns; ", remedy, ", or lower parallel.threads");
    }
    if (use.by_mpirun && use.allowed_on_node < use.on_node) {
        return concat("the ranks of this node may run on ", use.allowed_on_node, " of its ",
                      counted(use.on_node), "; if the job has more, ", remedy);
    }
    return {};
}

ProcessorPlan plan_processors(index_t threads, comm::Communicator& world, const comm::Topology& topology) {
    const comm::PerRank<std::string> all(comm::all_gather(world, allowed_processors()));
    std::vector<std::string> masks;
    std::size_t own = 0;
    std::string any;
    for (int rank = 0; rank < world.size(); ++rank) {
        if (topology.node_of_rank[rank] != topology.node_of_rank[world.rank()]) continue;
        if (rank == world.rank()) own = masks.size();
        masks.push_back(all[rank]);
        any.resize(std::max(any.size(), all[rank].size()), '0');
        for (std::size_t processor = 0; processor < all[rank].size(); ++processor)
            if (all[rank][processor] == '1') any[processor] = '1';
    }
    int share = processor_share(masks, own);
    if (const std::optional<double> quota = quota_of_container()) {
        const double part = *quota / static_cast<double>(masks.size());
        share = std::max(1, std::min(share, static_cast<int>(std::ceil(part))));
    }
    ProcessorPlan plan;
    plan.threads = threads > 0 ? narrow<int>(threads) : share;
    plan.note = processor_note({.threads = plan.threads,
                                .allowed = count_allowed(masks[own]),
                                .allowed_on_node = count_allowed(any),
                                .on_node = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)),
                                .by_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr});
    return plan;
}

}  // namespace sy::runtime
