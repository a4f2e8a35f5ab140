#pragma once

#include <ucs/type/status.h>

#include "kernels/core/error.hpp"

namespace sy::comm::detail {

inline void check_ucx(ucs_status_t status, const char* call) {
    if (status != UCS_OK) throw CommError(concat("UCX: ", call, " failed: ", ucs_status_string(status)));
}

}  // namespace sy::comm::detail

/// Throws CommError with the call's text and UCX's message.
#define SY_UCX(call) ::sy::comm::detail::check_ucx((call), #call)
