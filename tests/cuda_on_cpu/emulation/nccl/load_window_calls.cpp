// The stand-in's functions of windows, in the place of comm/nccl/load_window_calls.cpp.
#include "comm/nccl/window_calls.hpp"

namespace sy::comm {

NcclWindowCalls load_nccl_window_calls() {
    return {.mem_alloc = &ncclMemAlloc,
            .mem_free = &ncclMemFree,
            .comm_window_register = &ncclCommWindowRegister,
            .comm_window_deregister = &ncclCommWindowDeregister,
            .team_lsa = &ncclTeamLsa};
}

}  // namespace sy::comm
