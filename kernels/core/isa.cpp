#include "kernels/core/isa.hpp"

#include <algorithm>
#include <cstdlib>

#include "kernels/core/error.hpp"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace sy {

std::string_view isa_name(Isa isa) {
    constexpr std::array<std::string_view, kIsas.size()> kNames{"generic", "avx2", "avx512", "avx512_bf16",
                                                                "amx_bf16"};
    return kNames[static_cast<std::size_t>(isa)];
}

namespace {

#if defined(__x86_64__) && defined(__GNUC__)
/// Whether the processor has tiles and their products of bf16, and the system keeps their state when threads switch.
bool has_matrix_unit() {
#if defined(__linux__)
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
    constexpr unsigned kProducts = 1U << 22;
    constexpr unsigned kTiles = 1U << 24;
    if ((edx & kProducts) == 0 || (edx & kTiles) == 0) return false;
    // Documentation/arch/x86/xstate.rst: state 18 is the tiles'.
    constexpr long kRequestPermission = 0x1023;
    return syscall(SYS_arch_prctl, kRequestPermission, 18L) == 0;
#else
    return false;
#endif
}
#endif

Isa find_best_isa() {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("x86-64-v4")) {
        if (!__builtin_cpu_supports("avx512bf16")) return Isa::avx512;
        return has_matrix_unit() ? Isa::amx_bf16 : Isa::avx512_bf16;
    }
    if (__builtin_cpu_supports("x86-64-v3")) return Isa::avx2;
#endif
    return Isa::generic;
}

}  // namespace

Isa best_isa() {
    static const Isa kBest = find_best_isa();
    return kBest;
}

Isa choose_isa(const char* wanted, Isa best) {
    if (wanted == nullptr || *wanted == '\0') return best;
    const auto* const found = std::find_if(kIsas.begin(), kIsas.end(),
                                           [&](Isa candidate) { return isa_name(candidate) == wanted; });
    if (found == kIsas.end()) {
        throw ConfigError(
            concat(kIsaVariable, "=", wanted,
                   " names no instruction set; it is generic, avx2, avx512, avx512_bf16 or amx_bf16"));
    }
    if (*found > best) {
        throw ConfigError(concat(kIsaVariable, "=", wanted, ": this processor has ", isa_name(best),
                                 " at most; unset it or name a lower one"));
    }
    return *found;
}

Isa isa() {
    static const Isa kChosen = choose_isa(std::getenv(kIsaVariable), best_isa());
    return kChosen;
}

}  // namespace sy
