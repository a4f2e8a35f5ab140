#include "kernels/core/device.hpp"

#include <utility>

namespace sy {

Device::Device(DeviceKind kind, std::string name, const ops::Bodies& bodies)
    : kind_(kind), name_(std::move(name)), bodies_(bodies) {
    std::string names;
    for (const std::string& operation : ops::missing_bodies(bodies))
        names += (names.empty() ? "" : ", ") + operation;
    SY_REQUIRE(names.empty(), "device ", name_, ": no body for ", names, "; list one for each in its table");
}

}  // namespace sy
