#include "kernels/core/error.hpp"

namespace sy::detail {

void fail_check(const char* condition, const char* file, int line, const std::string& message) {
    throw LogicError(concat(message, " (", condition, " is false at ", file, ":", line, ")"));
}

}  // namespace sy::detail
