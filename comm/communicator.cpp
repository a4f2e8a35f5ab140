#include "comm/communicator.hpp"

#include <cstdio>
#include <exception>

namespace sy::comm {

void Communicator::poll_all(std::string_view doing) {
    for (Communicator* const companion : rank_wide_->companions) companion->poll();
    if (rank_wide_->roll_call) rank_wide_->roll_call->answer({doing, settings().name});
}

std::string Communicator::call_roll(std::string_view doing) {
    if (!rank_wide_->roll_call) return {};
    return rank_wide_->roll_call->call({doing, settings().name});
}

namespace detail {

void check_message(const Communicator& comm, int peer, int tag) {
    SY_REQUIRE(peer >= 0 && peer < comm.size(), comm.settings().name, ": message to or from rank ", peer,
               " of ", comm.size());
    SY_REQUIRE(tag >= 0 && tag <= kMaxInternalTag, comm.settings().name, ": message with tag ", tag,
               "; tags go from 0 to ", kMaxTag);
}

void report_dropped(const Request& request) {
    if (std::uncaught_exceptions() > 0) return;
    std::fprintf(stderr, "switchyard: dropped while under way: %s\n", request.description().c_str());
}

}  // namespace detail

}  // namespace sy::comm
