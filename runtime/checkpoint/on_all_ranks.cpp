#include "runtime/checkpoint/on_all_ranks.hpp"

#include <exception>
#include <thread>

#include "kernels/core/error.hpp"

namespace sy::runtime::detail {
namespace {

std::string problem_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const std::exception& error) {
        return error.what();
    }
    return {};
}

}  // namespace

void fail_on_all_ranks(comm::Communicator& world, const char* failure, const std::function<void()>& work) {
    std::packaged_task<std::string()> task([&work] { return problem_of(work); });
    std::future<std::string> done = task.get_future();
    // Joined last: the work uses what the caller owns.
    const std::jthread thread(std::move(task));
    std::string all;
    int rank = 0;
    try {
        wait_on_all_ranks(world, done);
        for (const std::string& problem : comm::all_gather(world, done.get())) {
            if (!problem.empty()) all += concat("\n  rank ", rank, ": ", problem);
            ++rank;
        }
    } catch (const CommError& error) {
        const std::string mine = done.valid() ? done.get() : std::string();
        if (mine.empty()) throw;
        throw IoError(concat(failure, ": ", mine, "; the other ranks could not be told: ", error.what()));
    }
    if (!all.empty()) throw IoError(concat(failure, ":", all));
}

}  // namespace sy::runtime::detail
