#pragma once

#include <array>
#include <string_view>

namespace sy {

/// Instruction sets that operations have bodies for, in ascending order: each includes those before it.
/// generic: what the compiler makes of plain C++. avx2: x86-64-v3. avx512: x86-64-v4. avx512_bf16: with dot products
/// of bf16 pairs. amx_bf16: with a matrix unit for bf16. Float32 results have the same bits under all of them, products
/// of bf16 under all but the last two.
enum class Isa { generic, avx2, avx512, avx512_bf16, amx_bf16 };
inline constexpr std::array kIsas{Isa::generic, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx_bf16};
std::string_view isa_name(Isa isa);

/// The highest that this processor, its system and this build have. The first call requests the matrix unit's state,
/// for the whole process.
Isa best_isa();

/// What `wanted`, the value of SWITCHYARD_ISA, makes of `best`: a lower one that it names; `best` where it is null or empty.
/// @throws ConfigError for a name that is none, or one above `best`
Isa choose_isa(const char* wanted, Isa best);

inline constexpr const char* kIsaVariable = "SWITCHYARD_ISA";

/// What operations use in this process: best_isa(), or lower where the environment variable SWITCHYARD_ISA names a
/// lower one. The first call decides for the whole process.
/// @throws ConfigError for a name that is none, or one that the processor does not have
Isa isa();

}  // namespace sy
