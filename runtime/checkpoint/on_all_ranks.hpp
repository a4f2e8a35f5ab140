#pragma once

#include <functional>
#include <future>
#include <string>

#include "comm/collectives.hpp"

/// Work on files that takes longer than a message may, and that no rank may go on without.
namespace sy::runtime::detail {

/// Waits until the work of every rank is over. The ranks keep in touch well within the deadline, so that a slow file system
/// is no lost peer, and a rank that stopped is one. Work that never ends is waited for without an end.
/// @throws TimeoutError when a rank does not keep in touch
/// @par Collective
template <class Result>
void wait_on_all_ranks(comm::Communicator& world, const std::future<Result>& work) {
    for (std::int32_t working = 1; working != 0;) {
        working = work.wait_for(world.settings().deadline / 4) == std::future_status::ready ? 0 : 1;
        comm::all_reduce(world, std::span(&working, 1), comm::ReduceOp::max);
    }
}

/// Runs work on every rank, in a thread of its own that may not communicate, and waits for it on all.
/// @param failure  begins the message: "writing a checkpoint failed"
/// @throws IoError on every rank when any rank fails, with every rank's message, FileLockError when all of them are of locks;
///         TimeoutError as above
/// @par Collective
void fail_on_all_ranks(comm::Communicator& world, const char* failure, const std::function<void()>& work);

/// How the failure of a rank begins while a checkpoint is being written.
inline constexpr const char* kWritingFailed =
    "writing a checkpoint failed; earlier checkpoints are untouched";

}  // namespace sy::runtime::detail
