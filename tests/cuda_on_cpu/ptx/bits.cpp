#include <algorithm>
#include <bit>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Fields of bits, bytes, and counts of bits.
namespace sy::emulation::ptx {
namespace {

template <typename T>
struct CountOnes {
    static void run(Frame& frame, const Instruction& i) {
        frame.set(i[0], std::uint32_t(std::popcount(std::make_unsigned_t<T>(frame.get<T>(i[1])))));
    }
};
template <typename T>
struct LeadingZeros {
    static void run(Frame& frame, const Instruction& i) {
        frame.set(i[0], std::uint32_t(std::countl_zero(std::make_unsigned_t<T>(frame.get<T>(i[1])))));
    }
};
template <typename T>
struct Reversed {
    static void run(Frame& frame, const Instruction& i) {
        auto from = std::make_unsigned_t<T>(frame.get<T>(i[1]));
        std::uint64_t to = 0;
        for (std::size_t bit = 0; bit < 8 * sizeof(T); ++bit, from >>= 1) to = to << 1 | (from & 1U);
        frame.set(i[0], T(to));
    }
};

/// The place of the highest bit that is not the sign's; all ones where there is none.
template <typename T>
std::uint32_t highest_bit(T value) {
    const auto plain = std::make_unsigned_t<T>(value < 0 ? ~value : value);
    return std::uint32_t(8 * sizeof(T)) - 1U - std::uint32_t(std::countl_zero(plain));
}
template <typename T>
struct HighestBit {
    static void run(Frame& frame, const Instruction& i) { frame.set(i[0], highest_bit(frame.get<T>(i[1]))); }
};
template <typename T>
struct ShiftToHighestBit {
    static void run(Frame& frame, const Instruction& i) {
        const std::uint32_t place = highest_bit(frame.get<T>(i[1]));
        const bool is_none = place == ~std::uint32_t{0};
        frame.set(i[0], is_none ? place : std::uint32_t(8 * sizeof(T)) - 1U - place);
    }
};

template <typename T>
struct ExtractField {
    static void run(Frame& frame, const Instruction& i) {
        constexpr std::uint32_t kHighest = 8 * sizeof(T) - 1;
        const auto value = std::make_unsigned_t<T>(frame.get<T>(i[1]));
        const std::uint32_t place = frame.get<std::uint32_t>(i[2]) & 0xffU;
        const std::uint32_t size = frame.get<std::uint32_t>(i[3]) & 0xffU;
        const std::uint32_t sign_place = size == 0 ? kHighest : std::min(place + size - 1, kHighest);
        const bool sign = std::is_signed_v<T> && size > 0 && (value >> sign_place & 1U) != 0;
        std::uint64_t field = 0;
        for (std::uint32_t bit = 0; bit <= kHighest; ++bit) {
            const bool is_inside = bit < size && place + bit <= kHighest;
            const bool is_set = is_inside ? (value >> (place + bit) & 1U) != 0 : sign;
            field |= std::uint64_t(is_set ? 1 : 0) << bit;
        }
        frame.set(i[0], T(field));
    }
};
template <typename T>
struct InsertField {
    static void run(Frame& frame, const Instruction& i) {
        const std::uint64_t from = std::make_unsigned_t<T>(frame.get<T>(i[1]));
        std::uint64_t to = std::make_unsigned_t<T>(frame.get<T>(i[2]));
        const std::uint32_t place = frame.get<std::uint32_t>(i[3]) & 0xffU;
        const std::uint32_t size = frame.get<std::uint32_t>(i[4]) & 0xffU;
        for (std::uint32_t bit = 0; bit < size && place + bit < 8 * sizeof(T); ++bit) {
            to &= ~(std::uint64_t{1} << (place + bit));
            to |= (from >> bit & 1U) << (place + bit);
        }
        frame.set(i[0], T(to));
    }
};

/// Each byte of the result is one of the eight of a and b, or its sign.
void permute_bytes(Frame& frame, const Instruction& i) {
    const std::uint64_t bytes = frame.get<std::uint32_t>(i[1]) | std::uint64_t(frame.get<std::uint32_t>(i[2]))
                                                                     << 32;
    const auto choices = frame.get<std::uint32_t>(i[3]);
    std::uint32_t result = 0;
    for (std::uint32_t byte = 0; byte < 4; ++byte) {
        const std::uint32_t choice = choices >> (4 * byte);
        const auto chosen = std::uint32_t(bytes >> (8 * (choice & 7U)) & 0xffU);
        const std::uint32_t spread = (chosen & 0x80U) != 0 ? 0xffU : 0U;
        result |= ((choice & 8U) != 0 ? spread : chosen) << (8 * byte);
    }
    frame.set(i[0], result);
}

/// The upper (left) or lower (right) half of b:a, shifted.
template <bool is_left, bool wraps>
void funnel_shift(Frame& frame, const Instruction& i) {
    const std::uint64_t both = frame.get<std::uint32_t>(i[1]) | std::uint64_t(frame.get<std::uint32_t>(i[2]))
                                                                    << 32;
    const auto wanted = frame.get<std::uint32_t>(i[3]);
    const std::uint32_t by = wraps ? wanted & 31U : std::min(wanted, 32U);
    frame.set(i[0], std::uint32_t(is_left ? both << by >> 32 : both >> by));
}

/// Any function of three bits, as a table of eight.
void logic_of_three(Frame& frame, const Instruction& i) {
    const auto a = frame.get<std::uint32_t>(i[1]), b = frame.get<std::uint32_t>(i[2]);
    const auto c = frame.get<std::uint32_t>(i[3]), table = frame.get<std::uint32_t>(i[4]);
    std::uint32_t result = 0;
    for (std::uint32_t entry = 0; entry < 8; ++entry) {
        if ((table >> entry & 1U) == 0) continue;
        result |= ((entry & 4U) != 0 ? a : ~a) & ((entry & 2U) != 0 ? b : ~b) & ((entry & 1U) != 0 ? c : ~c);
    }
    frame.set(i[0], result);
}

Run find_funnel_shift(Opcode& opcode) {
    const bool is_left = opcode.take("l");
    if (!is_left && !opcode.take("r")) return nullptr;
    if (opcode.take("wrap")) return is_left ? funnel_shift<true, true> : funnel_shift<false, true>;
    if (opcode.take("clamp")) return is_left ? funnel_shift<true, false> : funnel_shift<false, false>;
    return nullptr;
}

}  // namespace

Run find_bits(Opcode& opcode, Instruction&) {
    const Type type = opcode.type();
    if (!opcode.has_types(1) || !type.is_integer()) return nullptr;
    if (opcode.name == "popc") return for_integers<CountOnes>(type);
    if (opcode.name == "clz") return for_integers<LeadingZeros>(type);
    if (opcode.name == "brev") return for_integers<Reversed>(type);
    if (opcode.name == "bfind") {
        return opcode.take("shiftamt") ? for_integers<ShiftToHighestBit>(type)
                                       : for_integers<HighestBit>(type);
    }
    if (opcode.name == "bfe") return for_integers<ExtractField>(type);
    if (opcode.name == "bfi") return for_integers<InsertField>(type);
    if (opcode.name == "prmt") return permute_bytes;
    if (opcode.name == "shf") return find_funnel_shift(opcode);
    if (opcode.name == "lop3") return logic_of_three;
    return nullptr;
}

}  // namespace sy::emulation::ptx
