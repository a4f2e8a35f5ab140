#include "runtime/train/rank_device.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <sstream>
#include <utility>

#include "comm/collectives.hpp"
#include "kernels/core/isa.hpp"

namespace sy::runtime {
namespace {

/// A poll takes about a microsecond: while a rank computes, messages move on at a cost of half a percent.
constexpr std::chrono::microseconds kPollInterval{200};

constexpr const char* kSetting = "parallel.device = cuda: ";

/// What `work` throws on one rank is thrown on all. @par Collective
void agree(comm::Communicator& world, const std::function<void()>& work) {
    std::string problem;
    try {
        work();
    } catch (const ConfigError& error) {
        problem = error.what();
    }
    const std::vector<std::string> problems = comm::all_gather(world, problem);
    const auto first = std::ranges::find_if(problems, [](const std::string& text) { return !text.empty(); });
    if (first == problems.end()) return;
    const auto rank = first - problems.begin();
    throw ConfigError(
        concat(kSetting, rank == world.rank() ? std::string() : concat("rank ", rank, ": "), *first));
}

/// The lists of all ranks, in which names have no blanks. @par Collective
std::vector<std::vector<std::string>> gather_lists(comm::Communicator& world,
                                                   const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += name + " ";
    std::vector<std::vector<std::string>> lists;
    for (const std::string& line : comm::all_gather(world, text)) {
        std::istringstream words(line);
        std::vector<std::string>& list = lists.emplace_back();
        for (std::string name; words >> name;) list.push_back(name);
    }
    return lists;
}

std::string counted(std::size_t number, const char* what) {
    return concat(number, " ", what, number == 1 ? "" : "s");
}

/// The GPU of this rank, by index. @throws ConfigError on every rank where some node has too few
/// @par Collective
int own_gpu(comm::Communicator& world, const comm::Topology& topology) {
    std::vector<std::string> mine;
    agree(world, [&] { mine = visible_gpus(); });
    const std::vector<std::vector<std::string>> all = gather_lists(world, mine);
    int own = 0;
    for (int node = 0; node < topology.num_nodes(); ++node) {
        std::vector<int> ranks;
        std::vector<std::vector<std::string>> visible;
        std::set<std::string> different;
        for (int rank = 0; rank < world.size(); ++rank) {
            if (topology.node_of_rank[rank] != node) continue;
            ranks.push_back(rank);
            visible.push_back(all[static_cast<std::size_t>(rank)]);
            different.insert(visible.back().begin(), visible.back().end());
        }
        const std::vector<std::optional<int>> chosen = choose_gpus(visible);
        for (std::size_t i = 0; i < ranks.size(); ++i) {
            if (!chosen[i])
                throw ConfigError(concat(kSetting, "the node of rank ", ranks[i], " has ",
                                         counted(ranks.size(), "rank"), " and shows them ",
                                         counted(different.size(), "GPU"),
                                         "; start one rank a GPU (mpirun --map-by ppr:", different.size(),
                                         ":node, srun --ntasks-per-node=", different.size(),
                                         "), and see CUDA_VISIBLE_DEVICES where a node has more"));
            if (ranks[i] == world.rank()) own = *chosen[i];
        }
    }
    return own;
}

}  // namespace

RankDevice::RankDevice(DeviceKind kind, int num_threads, comm::Communicator& world,
                       const comm::Topology& topology) {
    if (kind == DeviceKind::cpu) {
        cpu_ = std::make_unique<CpuDevice>(num_threads);
        return;
    }
    const int index = own_gpu(world, topology);
    agree(world, [&] { gpu_ = make_cuda_device(index); });
}

Device& RankDevice::device() {
    if (cpu_) return *cpu_;
    return *gpu_;
}

std::string RankDevice::instruction_set() const {
    return cpu_ ? std::string(isa_name(isa())) : gpu_->names().architecture;
}

std::string RankDevice::text() const {
    return cpu_ ? instruction_set() : concat(gpu_->names().model, ", ", instruction_set());
}

std::string RankDevice::products_note() const {
    return cpu_ ? std::string() : gpu_->products_note();
}

index_t RankDevice::peak_bytes() const {
    return cpu_ ? cpu_->arena().peak_bytes() : gpu_->peak_bytes();
}

void RankDevice::set_poll(std::function<void()> poll) {
    if (cpu_) {
        cpu_->team().set_poll(std::move(poll), kPollInterval);
    } else {
        gpu_->set_poll(std::move(poll));
    }
}

std::vector<std::optional<int>> choose_gpus(std::span<const std::vector<std::string>> visible) {
    std::vector<std::optional<int>> chosen;
    std::set<std::string> taken;
    for (const std::vector<std::string>& gpus : visible) {
        const auto free =
            std::ranges::find_if(gpus, [&](const std::string& gpu) { return !taken.contains(gpu); });
        if (free == gpus.end()) {
            chosen.emplace_back();
        } else {
            taken.insert(*free);
            chosen.emplace_back(static_cast<int>(free - gpus.begin()));
        }
    }
    return chosen;
}

}  // namespace sy::runtime
