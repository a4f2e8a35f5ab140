#include "comm/nccl/gpu_windows.hpp"

namespace sy::comm {

std::unique_ptr<NcclWindows> make_gpu_windows(const WindowOwner& /*owner*/,
                                              std::chrono::milliseconds /*deadline*/) {
    throw ConfigError(
        concat("the module of CUDA was built with the headers of NCCL ", NCCL_MAJOR, ".", NCCL_MINOR,
               ", which have no device API (nccl_device.h); build it with those of 2.28 or later"));
}

}  // namespace sy::comm
