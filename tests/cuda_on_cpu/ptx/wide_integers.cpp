#include <type_traits>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Products, of which the lower or upper half or both are wanted, and sums with a carry.
namespace sy::emulation::ptx {
namespace {

__extension__ using Signed128 = __int128;
__extension__ using Unsigned128 = unsigned __int128;

/// The full product of two numbers of up to 64 bits.
template <typename T>
auto product(T a, T b) {
    if constexpr (std::is_signed_v<T>) {
        return Signed128(a) * Signed128(b);
    } else {
        return Unsigned128(a) * Unsigned128(b);
    }
}
template <typename T>
T high_half(T a, T b) {
    return T(product(a, b) >> (8 * sizeof(T)));
}
template <typename T>
T low_half(T a, T b) {
    return T(product(a, b));
}

template <typename T>
struct MultiplyLow {
    static void run(Frame& frame, const Instruction& i) {
        frame.set(i[0], low_half(frame.get<T>(i[1]), frame.get<T>(i[2])));
    }
};
template <typename T>
struct MultiplyHigh {
    static void run(Frame& frame, const Instruction& i) {
        frame.set(i[0], high_half(frame.get<T>(i[1]), frame.get<T>(i[2])));
    }
};
template <typename T>
struct MultiplyAddLow {
    static void run(Frame& frame, const Instruction& i) {
        const T low = low_half(frame.get<T>(i[1]), frame.get<T>(i[2]));
        frame.set(i[0], T(std::uint64_t(low) + std::uint64_t(frame.get<T>(i[3]))));
    }
};
template <typename T>
struct MultiplyAddHigh {
    static void run(Frame& frame, const Instruction& i) {
        const T high = high_half(frame.get<T>(i[1]), frame.get<T>(i[2]));
        frame.set(i[0], T(std::uint64_t(high) + std::uint64_t(frame.get<T>(i[3]))));
    }
};

/// Of 16 or 32 bits, into twice as many.
template <typename T, typename Wide>
void multiply_wide(Frame& frame, const Instruction& i) {
    frame.set(i[0], Wide(product(frame.get<T>(i[1]), frame.get<T>(i[2]))));
}
template <typename T, typename Wide>
void multiply_add_wide(Frame& frame, const Instruction& i) {
    const auto wide = std::uint64_t(product(frame.get<T>(i[1]), frame.get<T>(i[2])));
    frame.set(i[0], Wide(wide + std::uint64_t(frame.get<Wide>(i[3]))));
}

Run find_wide(Opcode& opcode) {
    const Type type = opcode.type();
    const bool is_signed = type.kind == Type::Kind::signed_integer;
    if (type.bits != 16 && type.bits != 32) return nullptr;
    if (opcode.name == "mul") {
        if (type.bits == 16) {
            return is_signed ? multiply_wide<std::int16_t, std::int32_t>
                             : multiply_wide<std::uint16_t, std::uint32_t>;
        }
        return is_signed ? multiply_wide<std::int32_t, std::int64_t>
                         : multiply_wide<std::uint32_t, std::uint64_t>;
    }
    if (type.bits == 16) {
        return is_signed ? multiply_add_wide<std::int16_t, std::int32_t>
                         : multiply_add_wide<std::uint16_t, std::uint32_t>;
    }
    return is_signed ? multiply_add_wide<std::int32_t, std::int64_t>
                     : multiply_add_wide<std::uint32_t, std::uint64_t>;
}

/// d = a + b (+ carry); borrows are carries, as in PTX.
template <bool subtracts, bool takes, bool gives, typename T>
void sum_with_carry(Frame& frame, const Instruction& i) {
    const auto a = Unsigned128(frame.get<T>(i[1]));
    const auto b = Unsigned128(frame.get<T>(i[2]));
    const Unsigned128 carry = takes && frame.carry ? 1 : 0;
    const Unsigned128 sum = subtracts ? a - b - carry : a + b + carry;
    if (gives) frame.carry = (sum >> (8 * sizeof(T)) & 1) != 0;
    frame.set(i[0], T(sum));
}
template <bool subtracts, bool takes, typename T>
Run find_sum(bool gives) {
    return gives ? sum_with_carry<subtracts, takes, true, T> : sum_with_carry<subtracts, takes, false, T>;
}

/// d = a * b + c (+ carry), of a half of the product.
template <bool is_high, bool takes, bool gives, typename T>
void product_with_carry(Frame& frame, const Instruction& i) {
    using Plain = std::make_unsigned_t<T>;
    const T a = frame.get<T>(i[1]), b = frame.get<T>(i[2]);
    const auto half = Plain(is_high ? high_half(a, b) : low_half(a, b));
    const Unsigned128 sum = Unsigned128(half) + frame.get<Plain>(i[3]) + (takes && frame.carry ? 1 : 0);
    if (gives) frame.carry = (sum >> (8 * sizeof(T)) & 1) != 0;
    frame.set(i[0], Plain(sum));
}
template <bool is_high, bool takes, typename T>
Run find_product(bool gives) {
    return gives ? product_with_carry<is_high, takes, true, T> : product_with_carry<is_high, takes, false, T>;
}

/// A width's carrying instruction; the sign matters in upper halves alone.
template <typename T>
Run find_carrying(Opcode& opcode) {
    const bool takes = opcode.name == "addc" || opcode.name == "subc" || opcode.name == "madc";
    const bool gives = opcode.take("cc");
    if (!takes && !gives) return nullptr;
    using Plain = std::make_unsigned_t<T>;
    if (opcode.name == "add") return find_sum<false, false, Plain>(gives);
    if (opcode.name == "addc") return find_sum<false, true, Plain>(gives);
    if (opcode.name == "sub") return find_sum<true, false, Plain>(gives);
    if (opcode.name == "subc") return find_sum<true, true, Plain>(gives);
    if (opcode.take("lo"))
        return takes ? find_product<false, true, T>(gives) : find_product<false, false, T>(gives);
    if (opcode.take("hi"))
        return takes ? find_product<true, true, T>(gives) : find_product<true, false, T>(gives);
    return nullptr;
}

}  // namespace

Run find_wide_integer(Opcode& opcode, Instruction&) {
    const Type type = opcode.type();
    if (!opcode.has_types(1) || !type.is_integer()) return nullptr;
    const bool is_sum =
        opcode.name == "add" || opcode.name == "addc" || opcode.name == "sub" || opcode.name == "subc";
    const bool is_product = opcode.name == "mad" || opcode.name == "madc";
    if ((is_sum || is_product) && (type.bits == 32 || type.bits == 64)) {
        const bool is_signed = type.kind == Type::Kind::signed_integer;
        const Run run =
            type.bits == 32
                ? (is_signed ? find_carrying<std::int32_t>(opcode) : find_carrying<std::uint32_t>(opcode))
                : (is_signed ? find_carrying<std::int64_t>(opcode) : find_carrying<std::uint64_t>(opcode));
        if (run != nullptr) return run;
    }
    if (opcode.name != "mul" && opcode.name != "mad") return nullptr;
    if (opcode.take("wide")) return find_wide(opcode);
    if (opcode.take("lo")) {
        return opcode.name == "mul" ? for_integers<MultiplyLow>(type) : for_integers<MultiplyAddLow>(type);
    }
    if (opcode.take("hi")) {
        return opcode.name == "mul" ? for_integers<MultiplyHigh>(type) : for_integers<MultiplyAddHigh>(type);
    }
    return nullptr;
}

}  // namespace sy::emulation::ptx
