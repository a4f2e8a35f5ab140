#include <cmath>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"
#include "tests/cuda_on_cpu/ptx/rounding.hpp"

// Functions that a device approximates: here they are the host's, whose last bits are others.
namespace sy::emulation::ptx {
namespace {

using Reciprocal = decltype([]<typename T>(T a) { return T(1) / a; });
using Root = decltype([](auto a) { return std::sqrt(a); });
using ReciprocalRoot = decltype([]<typename T>(T a) { return T(1) / std::sqrt(a); });
using PowerOfTwo = decltype([](float a) { return std::exp2(a); });
using Logarithm = decltype([](float a) { return std::log2(a); });
using Sine = decltype([](float a) { return std::sin(a); });
using Cosine = decltype([](float a) { return std::cos(a); });
using Tangent = decltype([](float a) { return std::tanh(a); });

template <typename F>
void of_float(Frame& frame, const Instruction& i) {
    const auto value = frame.get<float>(i[1]);
    const float result = F()(i.flushes ? flushed(value) : value);
    frame.set(i[0], with_one_nan(i.flushes ? flushed(result) : result));
}

/// Doubles have 20 bits of a mantissa: the lower word is zero.
template <typename F>
void of_double(Frame& frame, const Instruction& i) {
    const double result = F()(flushed(frame.get<double>(i[1])));
    frame.set(i[0], to_bits(result) & ~std::uint64_t{0xffffffffU});
}

void quotient(Frame& frame, const Instruction& i) {
    const auto a = frame.get<float>(i[1]), b = frame.get<float>(i[2]);
    const float result = i.flushes ? flushed(flushed(a) / flushed(b)) : a / b;
    frame.set(i[0], with_one_nan(result));
}

}  // namespace

Run find_approximation(Opcode& opcode, Instruction& i) {
    const Type type = opcode.type();
    if (!opcode.has_types(1) || type.kind != Type::Kind::real || type.lanes != 1) return nullptr;
    const bool is_full = opcode.name == "div" && opcode.take("full");
    if (!is_full && !opcode.take("approx")) return nullptr;
    i.flushes = opcode.take("ftz");
    if (type.bits == 64) {
        if (!i.flushes) return nullptr;
        if (opcode.name == "rcp") return of_double<Reciprocal>;
        if (opcode.name == "rsqrt") return of_double<ReciprocalRoot>;
        return nullptr;
    }
    if (type.bits != 32) return nullptr;
    if (opcode.name == "div") return quotient;
    if (opcode.name == "rcp") return of_float<Reciprocal>;
    if (opcode.name == "sqrt") return of_float<Root>;
    if (opcode.name == "rsqrt") return of_float<ReciprocalRoot>;
    if (opcode.name == "ex2") return of_float<PowerOfTwo>;
    if (opcode.name == "lg2") return of_float<Logarithm>;
    if (opcode.name == "sin") return of_float<Sine>;
    if (opcode.name == "cos") return of_float<Cosine>;
    if (opcode.name == "tanh") return of_float<Tangent>;
    return nullptr;
}

}  // namespace sy::emulation::ptx
