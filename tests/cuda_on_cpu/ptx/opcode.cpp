#include "tests/cuda_on_cpu/ptx/opcode.hpp"

#include <array>

namespace sy::emulation::ptx {
namespace {

struct NamedType {
    std::string_view name;
    Type type;
};

using Kind = Type::Kind;
constexpr std::array kTypes{
    NamedType{"pred", {Kind::predicate, 1}},
    NamedType{"b8", {Kind::bits, 8}},
    NamedType{"b16", {Kind::bits, 16}},
    NamedType{"b32", {Kind::bits, 32}},
    NamedType{"b64", {Kind::bits, 64}},
    NamedType{"u8", {Kind::unsigned_integer, 8}},
    NamedType{"u16", {Kind::unsigned_integer, 16}},
    NamedType{"u32", {Kind::unsigned_integer, 32}},
    NamedType{"u64", {Kind::unsigned_integer, 64}},
    NamedType{"s8", {Kind::signed_integer, 8}},
    NamedType{"s16", {Kind::signed_integer, 16}},
    NamedType{"s32", {Kind::signed_integer, 32}},
    NamedType{"s64", {Kind::signed_integer, 64}},
    NamedType{"f16", {Kind::real, 16}},
    NamedType{"f32", {Kind::real, 32}},
    NamedType{"f64", {Kind::real, 64}},
    NamedType{"bf16", {Kind::bf16, 16}},
    NamedType{"f16x2", {Kind::real, 32, 2}},
    NamedType{"bf16x2", {Kind::bf16, 32, 2}},
};

constexpr std::array<Family, 12> kFamilies{
    find_integer,    find_wide_integer, find_bits,   find_real,   find_approximation, find_conversion,
    find_comparison, find_move,         find_access, find_atomic, find_exchange,      find_control};

}  // namespace

Type type_named(std::string_view name) {
    for (const NamedType& each : kTypes) {
        if (each.name == name) return each.type;
    }
    return {};
}

Opcode opcode_of(std::string_view word) {
    Opcode opcode;
    std::size_t at = word.find('.');
    opcode.name = word.substr(0, at);
    while (at != std::string_view::npos) {
        const std::size_t next = word.find('.', at + 1);
        const std::string_view part =
            word.substr(at + 1, next == std::string_view::npos ? next : next - at - 1);
        if (const Type type = type_named(part); type.bits > 0) {
            opcode.types.push_back(type);
        } else {
            opcode.modifiers.push_back(part);
        }
        at = next;
    }
    return opcode;
}

Run find_run(std::string_view word, Instruction& instruction) {
    for (const Family family : kFamilies) {
        Opcode opcode = opcode_of(word);
        const Run run = family(opcode, instruction);
        if (run != nullptr && opcode.modifiers.empty()) return run;
    }
    return nullptr;
}

}  // namespace sy::emulation::ptx
