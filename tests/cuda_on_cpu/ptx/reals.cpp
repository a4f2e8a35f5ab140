#include <cmath>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"
#include "tests/cuda_on_cpu/ptx/rounding.hpp"

// Arithmetic of float and double as IEEE 754 has it, in every rounding.
namespace sy::emulation::ptx {
namespace {

using Add = decltype([](auto a, auto b, auto) { return a + b; });
using Subtract = decltype([](auto a, auto b, auto) { return a - b; });
using Multiply = decltype([](auto a, auto b, auto) { return a * b; });
using Divide = decltype([](auto a, auto b, auto) { return a / b; });
using MultiplyAdd = decltype([](auto a, auto b, auto c) { return std::fma(a, b, c); });
using Reciprocal = decltype([]<typename T>(T a, T, T) { return T(1) / a; });
using Root = decltype([](auto a, auto, auto) { return std::sqrt(a); });
/// -0 is below 0; NaN loses.
using Smaller = decltype([]<typename T>(T a, T b, T) {
    if (a == b) return std::signbit(a) ? a : b;
    return std::fmin(a, b);
});
using Larger = decltype([]<typename T>(T a, T b, T) {
    if (a == b) return std::signbit(a) ? b : a;
    return std::fmax(a, b);
});
using SmallerOrNan = decltype([]<typename T>(T a, T b, T c) {
    return a != a || b != b ? a + b : Smaller()(a, b, c);
});
using LargerOrNan = decltype([]<typename T>(T a, T b, T c) {
    return a != a || b != b ? a + b : Larger()(a, b, c);
});

template <typename T>
T operand_or_zero(const Frame& frame, const Instruction& i, std::size_t place) {
    return place < i.num_operands ? frame.get<T>(i[place]) : T(0);
}

template <typename F>
struct Plain {
    template <typename T>
    struct Code {
        static void run(Frame& frame, const Instruction& i) {
            frame.set(i[0], with_one_nan(T(F()(frame.get<T>(i[1]), operand_or_zero<T>(frame, i, 2),
                                               operand_or_zero<T>(frame, i, 3)))));
        }
    };
};

/// In another rounding, flushing or saturating.
template <typename F>
struct Special {
    template <typename T>
    struct Code {
        static void run(Frame& frame, const Instruction& i) {
            const auto operand = [&](std::size_t place) {
                const T value = operand_or_zero<T>(frame, i, place);
                return i.flushes ? flushed(value) : value;
            };
            volatile T result = 0;
            {
                const RoundingScope scope(i.rounding);
                volatile T a = operand(1), b = operand(2), c = operand(3);
                result = F()(T(a), T(b), T(c));
            }
            T value = result;
            if (i.flushes) value = flushed(value);
            if (i.saturates) value = saturated(value);
            frame.set(i[0], with_one_nan(value));
        }
    };
};

template <typename T>
struct Negate {
    static void run(Frame& frame, const Instruction& i) {
        const T value = frame.get<T>(i[1]);
        frame.set(i[0], -(i.flushes ? flushed(value) : value));
    }
};
template <typename T>
struct Magnitude {
    static void run(Frame& frame, const Instruction& i) {
        const T value = frame.get<T>(i[1]);
        frame.set(i[0], std::fabs(i.flushes ? flushed(value) : value));
    }
};
/// The sign of the first operand with the second.
template <typename T>
struct CopySign {
    static void run(Frame& frame, const Instruction& i) {
        frame.set(i[0], std::copysign(frame.get<T>(i[2]), frame.get<T>(i[1])));
    }
};

template <typename F>
Run find_arithmetic(Type type, const Instruction& i) {
    const bool is_plain = i.rounding == Rounding::nearest && !i.flushes && !i.saturates;
    return is_plain ? for_reals<Plain<F>::template Code>(type) : for_reals<Special<F>::template Code>(type);
}

/// Takes .rn, .rz, .rm or .rp. @return whether one was there
bool take_rounding(Opcode& opcode, Instruction& i) {
    i.rounding = Rounding::nearest;
    if (opcode.take("rn")) return true;
    if (opcode.take("rz")) {
        i.rounding = Rounding::zero;
    } else if (opcode.take("rm")) {
        i.rounding = Rounding::down;
    } else if (opcode.take("rp")) {
        i.rounding = Rounding::up;
    } else {
        return false;
    }
    return true;
}

}  // namespace

Run find_real(Opcode& opcode, Instruction& i) {
    const Type type = opcode.type();
    if (!opcode.has_types(1) || type.kind != Type::Kind::real) return nullptr;
    const bool rounds = take_rounding(opcode, i);
    i.flushes = opcode.take("ftz");
    i.saturates = opcode.take("sat");
    if (opcode.name == "add") return find_arithmetic<Add>(type, i);
    if (opcode.name == "sub") return find_arithmetic<Subtract>(type, i);
    if (opcode.name == "mul") return find_arithmetic<Multiply>(type, i);
    if (opcode.name == "min") {
        return opcode.take("NaN") ? find_arithmetic<SmallerOrNan>(type, i)
                                  : find_arithmetic<Smaller>(type, i);
    }
    if (opcode.name == "max") {
        return opcode.take("NaN") ? find_arithmetic<LargerOrNan>(type, i) : find_arithmetic<Larger>(type, i);
    }
    if (opcode.name == "neg") return for_reals<Negate>(type);
    if (opcode.name == "abs") return for_reals<Magnitude>(type);
    if (opcode.name == "copysign") return for_reals<CopySign>(type);
    if (!rounds) return nullptr;  // the others without a rounding are approximations
    if (opcode.name == "fma" || opcode.name == "mad") return find_arithmetic<MultiplyAdd>(type, i);
    if (opcode.name == "div") return find_arithmetic<Divide>(type, i);
    if (opcode.name == "rcp") return find_arithmetic<Reciprocal>(type, i);
    if (opcode.name == "sqrt") return find_arithmetic<Root>(type, i);
    return nullptr;
}

}  // namespace sy::emulation::ptx
