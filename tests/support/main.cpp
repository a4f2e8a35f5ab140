#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>

#include <iostream>

#include "kernels/core/error.hpp"
#include "kernels/core/isa.hpp"

namespace {

constexpr int kSkipped = 77;

/// Why a run under SWITCHYARD_ISA would test nothing; empty when it would.
std::string reason_to_skip(const char* wanted) {
    if (wanted == nullptr) return {};
    try {
        if (sy::choose_isa(wanted, sy::best_isa()) == sy::best_isa())
            return std::string(wanted) + " is what the processor uses anyway";
    } catch (const sy::ConfigError& error) {
        return error.what();
    }
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    const std::string reason = reason_to_skip(std::getenv(sy::kIsaVariable));
    if (!reason.empty()) {
        std::cout << "SKIPPED: " << reason << "\n";
        return kSkipped;
    }
    return Catch::Session().run(argc, argv);
}
