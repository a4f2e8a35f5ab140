// refused: no matching function for call to .upload|could not convert|invalid initialization|no viable conversion
#include "kernels/core/host_values.hpp"

void upload_again(sy::ConstTensorRef of_device, const sy::Context& context) {
    static_cast<void>(of_device.cols());
    static_cast<void>(sy::upload(of_device, context));  // WRONG
}
