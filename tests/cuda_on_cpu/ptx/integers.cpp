#include <algorithm>
#include <limits>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Integer arithmetic of one width. It wraps round, which C++ has for unsigned numbers alone.
namespace sy::emulation::ptx {
namespace {

template <typename F>
struct Binary {
    template <typename T>
    struct Code {
        static void run(Frame& frame, const Instruction& i) {
            frame.set(i[0], T(F()(frame.get<T>(i[1]), frame.get<T>(i[2]))));
        }
    };
};

template <typename F>
struct Unary {
    template <typename T>
    struct Code {
        static void run(Frame& frame, const Instruction& i) { frame.set(i[0], T(F()(frame.get<T>(i[1])))); }
    };
};

using Add = decltype([](auto a, auto b) { return std::uint64_t(a) + std::uint64_t(b); });
using Subtract = decltype([](auto a, auto b) { return std::uint64_t(a) - std::uint64_t(b); });
using Smaller = decltype([](auto a, auto b) { return b < a ? b : a; });
using Larger = decltype([](auto a, auto b) { return a < b ? b : a; });
using Negate = decltype([](auto a) { return std::uint64_t(0) - std::uint64_t(a); });
using Magnitude = decltype([](auto a) {
    return a < 0 ? std::uint64_t(0) - std::uint64_t(a) : std::uint64_t(a);
});
/// What division by zero gives is not specified; devices give all ones.
using Divide = decltype([]<typename T>(T a, T b) {
    if (b == 0) return T(~T(0));
    if (std::is_signed_v<T> && b == T(-1)) return T(std::uint64_t(0) - std::uint64_t(a));
    return T(a / b);
});
using Remainder = decltype([]<typename T>(T a, T b) {
    if (b == 0) return a;
    if (std::is_signed_v<T> && b == T(-1)) return T(0);
    return T(a % b);
});
using And = decltype([](auto a, auto b) { return a & b; });
using Or = decltype([](auto a, auto b) { return a | b; });
using Exclusive = decltype([](auto a, auto b) { return a ^ b; });
using Not = decltype([](auto a) { return ~a; });
using IsZero = decltype([](auto a) { return a == 0 ? 1 : 0; });

/// Shifts by 32 bits of the second operand; one by the width or more leaves nothing, as no x86 does.
template <typename T>
struct ShiftLeft {
    static void run(Frame& frame, const Instruction& i) {
        const auto by = frame.get<std::uint32_t>(i[2]);
        frame.set(i[0], by < 8 * sizeof(T) ? T(std::uint64_t(frame.get<T>(i[1])) << by) : T(0));
    }
};
template <typename T>
struct ShiftRight {
    static void run(Frame& frame, const Instruction& i) {
        const auto by = frame.get<std::uint32_t>(i[2]);
        const T value = frame.get<T>(i[1]);
        const T beyond = std::is_signed_v<T> && value < 0 ? T(-1) : T(0);
        frame.set(i[0], by < 8 * sizeof(T) ? T(value >> by) : beyond);
    }
};

template <typename F>
void on_predicates(Frame& frame, const Instruction& i) {
    const unsigned second = i.num_operands > 2 && frame.is_true(i[2]) ? 1 : 0;
    frame.set(i[0], F()(frame.is_true(i[1]) ? 1U : 0U, second) & 1U);
}
using NotFirst = decltype([](unsigned a, unsigned) { return ~a; });

Run find_logic(Opcode& opcode) {
    const Type type = opcode.type();
    const bool is_predicate = type.kind == Type::Kind::predicate;
    if (opcode.name == "and")
        return is_predicate ? on_predicates<And> : for_integers<Binary<And>::Code>(type);
    if (opcode.name == "or") return is_predicate ? on_predicates<Or> : for_integers<Binary<Or>::Code>(type);
    if (opcode.name == "xor") {
        return is_predicate ? on_predicates<Exclusive> : for_integers<Binary<Exclusive>::Code>(type);
    }
    if (opcode.name == "not")
        return is_predicate ? on_predicates<NotFirst> : for_integers<Unary<Not>::Code>(type);
    if (opcode.name == "cnot") return for_integers<Unary<IsZero>::Code>(type);
    return nullptr;
}

}  // namespace

Run find_integer(Opcode& opcode, Instruction&) {
    const Type type = opcode.type();
    if (!opcode.has_types(1)) return nullptr;
    if (const Run logic = find_logic(opcode); logic != nullptr) return logic;
    if (opcode.name == "shl") return for_integers<ShiftLeft>(type);
    if (opcode.name == "shr") return for_integers<ShiftRight>(type);
    if (type.kind == Type::Kind::bits) return nullptr;
    if (opcode.name == "add") return for_integers<Binary<Add>::Code>(type);
    if (opcode.name == "sub") return for_integers<Binary<Subtract>::Code>(type);
    if (opcode.name == "min") return for_integers<Binary<Smaller>::Code>(type);
    if (opcode.name == "max") return for_integers<Binary<Larger>::Code>(type);
    if (opcode.name == "div") return for_integers<Binary<Divide>::Code>(type);
    if (opcode.name == "rem") return for_integers<Binary<Remainder>::Code>(type);
    if (opcode.name == "neg") return for_integers<Unary<Negate>::Code>(type);
    if (opcode.name == "abs") return for_integers<Unary<Magnitude>::Code>(type);
    return nullptr;
}

}  // namespace sy::emulation::ptx
