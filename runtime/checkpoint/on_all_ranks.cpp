#include "runtime/checkpoint/on_all_ranks.hpp"

#include <exception>
#include <thread>

#include "runtime/checkpoint/hdf5/file_lock.hpp"

namespace sy::runtime::detail {
namespace {

/// What work threw, as ranks tell it to one another: its kind, then its text. Empty: nothing.
constexpr char kLock = 'l';
constexpr char kOther = 'o';

std::string problem_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const FileLockError& error) {
        return kLock + std::string(error.what());
    } catch (const std::exception& error) {
        return kOther + std::string(error.what());
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
    bool locks_alone = true;
    int rank = 0;
    try {
        wait_on_all_ranks(world, done);
        for (const std::string& problem : comm::all_gather(world, done.get())) {
            if (!problem.empty()) {
                all += concat("\n  rank ", rank, ": ", problem.substr(1));
                locks_alone &= problem.front() == kLock;
            }
            ++rank;
        }
    } catch (const CommError& error) {
        const std::string mine = done.valid() ? done.get() : std::string();
        if (mine.empty()) throw;
        throw IoError(
            concat(failure, ": ", mine.substr(1), "; the other ranks could not be told: ", error.what()));
    }
    if (all.empty()) return;
    const std::string text = concat(failure, ":", all);
    if (locks_alone) throw FileLockError(text);
    throw IoError(text);
}

}  // namespace sy::runtime::detail
