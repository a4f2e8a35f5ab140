#include "comm/nccl/calls.hpp"

namespace sy::comm {
namespace {

const char* advice_for(ncclResult_t result) {
    switch (result) {
        case ncclUnhandledCudaError:
            return "; a kernel of this rank may have failed earlier, or its GPU is out of memory";
        case ncclSystemError:
            return "; the network or shared memory of the node has failed: NCCL_DEBUG=INFO says where";
        case ncclInvalidUsage:
            return "; two ranks may use one GPU: start one rank a GPU. NCCL_DEBUG=WARN says more";
        case ncclRemoteError:
            return "; a peer is gone: the messages of the other ranks tell which one failed first";
        default:
            return "; NCCL_DEBUG=WARN says more";
    }
}

}  // namespace

void check_nccl(const NcclCalls& calls, ncclResult_t result, const char* call, ncclComm_t communicator,
                const std::source_location& where) {
    if (result == ncclSuccess || result == ncclInProgress) return;
    const char* const detail = communicator == nullptr ? nullptr : calls.get_last_error(communicator);
    const bool has_detail = detail != nullptr && *detail != '\0';
    throw CommError(concat("nccl: ", call, " (", where.file_name(), ":", where.line(),
                           "): ", calls.get_error_string(result), has_detail ? ": " : "",
                           has_detail ? detail : "", advice_for(result)));
}

}  // namespace sy::comm
