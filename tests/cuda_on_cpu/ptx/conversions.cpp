#include <cmath>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"
#include "tests/cuda_on_cpu/ptx/small_reals.hpp"

// cvt: a conversion reads its source as a wide number of the same kind, and writes that as what is wanted.
namespace sy::emulation::ptx {
namespace {

using Kind = Type::Kind;
__extension__ using Wide = __int128;

// Readers and writers of integers.
template <typename T>
Wide read_integer(const Frame& frame, const Instruction& i) {
    return frame.get<T>(i[1]);
}
/// Narrower numbers lose their upper bits, or stop at the ends of the range.
template <typename T>
void write_integer(Frame& frame, const Instruction& i, Wide value) {
    if (i.saturates) {
        value = std::max<Wide>(value, std::numeric_limits<T>::min());
        value = std::min<Wide>(value, std::numeric_limits<T>::max());
    }
    // Registers are wider than results of 8 bits, which are extended.
    using Stored =
        std::conditional_t<sizeof(T) == 1,
                           std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>, T>;
    frame.set(i[0], Stored(T(value)));
}

// Readers and writers of numbers that are not whole; double holds them all.
double read_f32(const Frame& frame, const Instruction& i) {
    const auto value = frame.get<float>(i[1]);
    return double(i.flushes ? flushed(value) : value);
}
double read_f64(const Frame& frame, const Instruction& i) {
    return frame.get<double>(i[1]);
}
template <const SmallFormat& format>
double read_small(const Frame& frame, const Instruction& i) {
    return widened(frame.get<std::uint16_t>(i[1]), format);
}
float to_float(double value, Rounding rounding) {
    volatile float result = 0.0F;
    const RoundingScope scope(rounding);
    volatile double from = value;
    result = float(from);
    return result;
}
void write_f32(Frame& frame, const Instruction& i, double value) {
    if (i.saturates) value = saturated(value);
    const float result = i.rounding == Rounding::nearest ? float(value) : to_float(value, i.rounding);
    frame.set(i[0], with_one_nan(i.flushes ? flushed(result) : result));
}
void write_f64(Frame& frame, const Instruction& i, double value) {
    frame.set(i[0], i.saturates ? saturated(value) : value);
}
template <const SmallFormat& format>
void write_small(Frame& frame, const Instruction& i, double value) {
    frame.set(i[0], narrowed(i.saturates ? saturated(value) : value, format, i.rounding));
}

template <typename To, typename From>
void integer_to_integer(Frame& frame, const Instruction& i) {
    write_integer<To>(frame, i, read_integer<From>(frame, i));
}

/// From 64 bits to float there is one rounding, not another one by way of double.
template <typename To, typename From>
void integer_to_real(Frame& frame, const Instruction& i) {
    volatile To result = 0;
    {
        const RoundingScope scope(i.rounding);
        volatile From value = frame.get<From>(i[1]);
        result = To(value);
    }
    frame.set(i[0], To(result));
}

/// What is out of range stops at its ends. NaN is 0, but of double, or into 64 bits, it is the highest bit alone.
template <typename To, double (*read)(const Frame&, const Instruction&)>
void real_to_integer(Frame& frame, const Instruction& i) {
    const double value = rounded(read(frame, i), i.rounding);
    constexpr bool kNanHasBit = read == read_f64 || sizeof(To) == 8;
    const double end = std::ldexp(1.0, std::numeric_limits<To>::digits);
    To result = 0;
    if (value != value) {
        result = kNanHasBit ? To(std::uint64_t{1} << (8 * sizeof(To) - 1)) : To(0);
    } else if (value >= end) {
        result = std::numeric_limits<To>::max();
    } else if (value < double(std::numeric_limits<To>::min())) {
        result = std::numeric_limits<To>::min();
    } else {
        result = To(value);
    }
    frame.set(i[0], result);
}

template <double (*read)(const Frame&, const Instruction&), void (*write)(Frame&, const Instruction&, double)>
void real_to_real(Frame& frame, const Instruction& i) {
    write(frame, i, read(frame, i));
}
template <double (*read)(const Frame&, const Instruction&), void (*write)(Frame&, const Instruction&, double)>
void real_to_whole_real(Frame& frame, const Instruction& i) {
    const double value = read(frame, i);
    write(frame, i, rounded(value, i.rounding));
}

/// Two floats into one word; the first one is the upper half.
template <const SmallFormat& format>
void pack_two(Frame& frame, const Instruction& i) {
    const auto half = [&](std::size_t place) {
        return narrowed(double(frame.get<float>(i[place])), format, i.rounding);
    };
    frame.set(i[0], std::uint32_t(half(1)) << 16 | half(2));
}

/// Calls `then` with a value of the integer's C++ type.
template <typename Then>
Run with_integer(Type type, Then then) {
    const bool is_signed = type.kind == Kind::signed_integer;
    switch (type.bits) {
        case 8:
            return is_signed ? then(std::int8_t()) : then(std::uint8_t());
        case 16:
            return is_signed ? then(std::int16_t()) : then(std::uint16_t());
        case 32:
            return is_signed ? then(std::int32_t()) : then(std::uint32_t());
        default:
            return is_signed ? then(std::int64_t()) : then(std::uint64_t());
    }
}

template <double (*read)(const Frame&, const Instruction&)>
Run find_from_real(Type to, bool is_whole) {
    if (to.is_integer()) {
        return with_integer(to, []<typename T>(T) -> Run { return real_to_integer<T, read>; });
    }
    if (to.kind == Kind::bf16) return real_to_real<read, write_small<kBf16>>;
    if (to.bits == 16) return real_to_real<read, write_small<kF16>>;
    if (to.bits == 32) return is_whole ? real_to_whole_real<read, write_f32> : real_to_real<read, write_f32>;
    return is_whole ? real_to_whole_real<read, write_f64> : real_to_real<read, write_f64>;
}

/// The rounding, and whether it is to a whole number.
struct RoundingWord {
    std::string_view word;
    Rounding rounding;
    bool is_whole;
};
constexpr std::array kRoundings{
    RoundingWord{"rn", Rounding::nearest, false}, RoundingWord{"rz", Rounding::zero, false},
    RoundingWord{"rm", Rounding::down, false},    RoundingWord{"rp", Rounding::up, false},
    RoundingWord{"rni", Rounding::nearest, true}, RoundingWord{"rzi", Rounding::zero, true},
    RoundingWord{"rmi", Rounding::down, true},    RoundingWord{"rpi", Rounding::up, true}};

}  // namespace

Run find_conversion(Opcode& opcode, Instruction& i) {
    if (opcode.name != "cvt" || !opcode.has_types(2)) return nullptr;
    bool is_whole = false;
    i.rounding = Rounding::nearest;
    for (const RoundingWord& each : kRoundings) {
        if (!opcode.take(each.word)) continue;
        i.rounding = each.rounding;
        is_whole = each.is_whole;
    }
    i.flushes = opcode.take("ftz");
    i.saturates = opcode.take("sat");
    const Type to = opcode.types[0], from = opcode.types[1];
    if (to.kind == Kind::predicate || from.kind == Kind::predicate || from.lanes != 1) return nullptr;
    if (to.lanes == 2) {
        if (from.bits != 32 || i.num_operands != 3 || i.flushes || i.saturates) return nullptr;
        return to.kind == Kind::bf16 ? pack_two<kBf16> : pack_two<kF16>;
    }
    if (from.is_integer() && to.is_integer()) {
        return with_integer(from, [to]<typename From>(From) {
            return with_integer(to, []<typename To>(To) -> Run { return integer_to_integer<To, From>; });
        });
    }
    if (from.is_integer()) {
        if (to.kind != Kind::real || to.bits == 16 || i.saturates) return nullptr;
        return with_integer(from, [to]<typename From>(From) -> Run {
            return to.bits == 32 ? integer_to_real<float, From> : integer_to_real<double, From>;
        });
    }
    if (from.kind == Kind::bf16) return find_from_real<read_small<kBf16>>(to, is_whole);
    if (from.bits == 16) return find_from_real<read_small<kF16>>(to, is_whole);
    return from.bits == 32 ? find_from_real<read_f32>(to, is_whole) : find_from_real<read_f64>(to, is_whole);
}

}  // namespace sy::emulation::ptx
