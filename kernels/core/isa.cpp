#include "kernels/core/isa.hpp"

#include <algorithm>
#include <cstdlib>

#include "kernels/core/error.hpp"

namespace sy {

std::string_view isa_name(Isa isa) {
    constexpr std::array<std::string_view, kIsas.size()> kNames{"generic", "avx2", "avx512", "avx512_bf16"};
    return kNames[static_cast<std::size_t>(isa)];
}

Isa best_isa() {
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("x86-64-v4"))
        return __builtin_cpu_supports("avx512bf16") ? Isa::avx512_bf16 : Isa::avx512;
    if (__builtin_cpu_supports("x86-64-v3")) return Isa::avx2;
#endif
    return Isa::generic;
}

Isa choose_isa(const char* wanted, Isa best) {
    if (wanted == nullptr || *wanted == '\0') return best;
    const auto* const found = std::find_if(kIsas.begin(), kIsas.end(),
                                           [&](Isa candidate) { return isa_name(candidate) == wanted; });
    if (found == kIsas.end()) {
        throw ConfigError(concat(kIsaVariable, "=", wanted,
                                 " names no instruction set; it is generic, avx2, avx512 or avx512_bf16"));
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
