#include "kernels/ops/bodies.hpp"

namespace sy::ops {

std::vector<std::string> missing_bodies(const Bodies& bodies) {
    std::vector<std::string> names;
    for_each_operation([&]<auto row>(const char* name) {
        if (bodies.*row == nullptr) names.emplace_back(name);
    });
    return names;
}

}  // namespace sy::ops
