#pragma once

namespace sy::emulation {

/// A place in the source. As a default argument it is the caller's; std::source_location cannot be one under clang 14.
struct Place {
    const char* file = "";
    int line = 0;
    static constexpr Place current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
        return {file, line};
    }
    bool operator==(const Place& other) const;
};

}  // namespace sy::emulation
