#include "comm/nccl/load_calls.hpp"
#include "comm/nccl/window_calls.hpp"

namespace sy::comm {

NcclWindowCalls load_nccl_window_calls() {
    constexpr const char* kNeeds = "2.28 or later is needed to put rows into the memory of other GPUs";
    void* const library = open_nccl();
    decltype(&ncclGetVersion) get_version = nullptr;
    look_up(library, "ncclGetVersion", get_version, kNeeds);
    int version = 0;
    if (get_version(&version) != ncclSuccess) version = 0;
    const std::string problem = window_problem(version, NCCL_VERSION_CODE);
    if (!problem.empty()) throw ConfigError(problem);
    NcclWindowCalls calls;
    look_up(library, "ncclMemAlloc", calls.mem_alloc, kNeeds);
    look_up(library, "ncclMemFree", calls.mem_free, kNeeds);
    look_up(library, "ncclCommWindowRegister", calls.comm_window_register, kNeeds);
    look_up(library, "ncclCommWindowDeregister", calls.comm_window_deregister, kNeeds);
    look_up(library, "ncclTeamLsa", calls.team_lsa, kNeeds);
    return calls;
}

}  // namespace sy::comm
