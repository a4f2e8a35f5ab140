// What is left of this folder in a build without UCX.
#include "comm/ucx/ucx_communicator.hpp"
#include "comm/ucx/ucx_inspection.hpp"
#include "kernels/core/error.hpp"

namespace sy::comm {
namespace {

[[noreturn]] void refuse() {
    throw ConfigError(
        "this binary has no UCX: its development package (libucx-dev) was not found, or SY_WITH_UCX was OFF, "
        "when it was built");
}

}  // namespace

bool ucx_available() {
    return false;
}

std::unique_ptr<Communicator> connect_ucx(Communicator&, Communicator::Settings) {
    refuse();
}

std::function<std::byte*(index_t)> ucx_slabs(Communicator&) {
    refuse();
}

index_t ucx_bytes(Communicator&) {
    refuse();
}

std::string ucx_version() {
    refuse();
}

std::vector<std::string> ucx_transports() {
    refuse();
}

}  // namespace sy::comm
