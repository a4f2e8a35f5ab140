#pragma once

#include <algorithm>
#include <optional>
#include <string_view>
#include <vector>

#include "tests/cuda_on_cpu/ptx/module.hpp"

/// From an instruction's name, modifiers and types to the code that runs it. The instructions are in families, a file each.
namespace sy::emulation::ptx {

/// An instruction's first word, taken apart. A family takes the modifiers that it understands: one that is left over makes
/// the instruction unknown.
struct Opcode {
    std::string_view name;
    std::vector<std::string_view> modifiers;
    std::vector<Type> types;  ///< in their order: that of the result first

    bool take(std::string_view modifier) {
        const auto found = std::find(modifiers.begin(), modifiers.end(), modifier);
        if (found == modifiers.end()) return false;
        modifiers.erase(found);
        return true;
    }
    Type type() const { return types.empty() ? Type{} : types.front(); }
    bool has_types(std::size_t count) const { return types.size() == count; }
};

/// The code of an instruction, or null where the family does not have it. May set what the instruction keeps of modifiers.
/// @param instruction  with its operands
using Family = Run (*)(Opcode& opcode, Instruction& instruction);

Run find_integer(Opcode& opcode, Instruction& instruction);
Run find_wide_integer(Opcode& opcode, Instruction& instruction);  ///< products, and sums with a carry
Run find_bits(Opcode& opcode, Instruction& instruction);
Run find_real(Opcode& opcode, Instruction& instruction);
Run find_approximation(Opcode& opcode, Instruction& instruction);
Run find_conversion(Opcode& opcode, Instruction& instruction);
Run find_comparison(Opcode& opcode, Instruction& instruction);
Run find_move(Opcode& opcode, Instruction& instruction);
Run find_access(Opcode& opcode, Instruction& instruction);
Run find_atomic(Opcode& opcode, Instruction& instruction);
Run find_exchange(Opcode& opcode, Instruction& instruction);
Run find_control(Opcode& opcode, Instruction& instruction);

/// Without bits where it is no type.
Type type_named(std::string_view name);
/// Takes the space of an address: generic where none is named.
void take_space(Opcode& opcode, Instruction& instruction);
/// Takes apart the first word, as `mad.lo.s32`.
Opcode opcode_of(std::string_view word);
/// @return null where no family knows the instruction
Run find_run(std::string_view word, Instruction& instruction);

/// The code of an integer instruction for its type: Code<T>::run for the T of 16, 32 or 64 bits.
template <template <typename> typename Code>
Run for_integers(Type type) {
    const bool is_signed = type.kind == Type::Kind::signed_integer;
    if (!type.is_integer()) return nullptr;
    switch (type.bits) {
        case 16:
            return is_signed ? Code<std::int16_t>::run : Code<std::uint16_t>::run;
        case 32:
            return is_signed ? Code<std::int32_t>::run : Code<std::uint32_t>::run;
        case 64:
            return is_signed ? Code<std::int64_t>::run : Code<std::uint64_t>::run;
        default:
            return nullptr;
    }
}

/// The same for float and double.
template <template <typename> typename Code>
Run for_reals(Type type) {
    if (type.kind != Type::Kind::real) return nullptr;
    return type.bits == 32 ? Code<float>::run : type.bits == 64 ? Code<double>::run : nullptr;
}

}  // namespace sy::emulation::ptx
