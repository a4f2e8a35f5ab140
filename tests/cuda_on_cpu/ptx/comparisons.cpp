#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"
#include "tests/cuda_on_cpu/ptx/rounding.hpp"

// Predicates: setp and set make them, selp chooses by one, testp says what a float is.
namespace sy::emulation::ptx {
namespace {

using Kind = Type::Kind;

/// Unordered comparisons are true where a number is NaN.
template <Comparison comparison, typename T>
bool holds(T a, T b) {
    using enum Comparison;
    const bool has_nan = a != a || b != b;
    if constexpr (comparison == num) return !has_nan;
    if constexpr (comparison == nan) return has_nan;
    if constexpr (comparison >= equ) {
        if (has_nan) return true;
    }
    if constexpr (comparison == eq || comparison == equ) return a == b;
    if constexpr (comparison == ne || comparison == neu) return !has_nan && a != b;
    if constexpr (comparison == lt || comparison == ltu) return a < b;
    if constexpr (comparison == le || comparison == leu) return a <= b;
    if constexpr (comparison == gt || comparison == gtu) return a > b;
    return a >= b;
}

template <Comparison comparison, typename T>
bool compare(const Frame& frame, const Instruction& i) {
    const std::size_t first = i.has_two_results ? 2 : 1;
    T a = frame.get<T>(i[first]), b = frame.get<T>(i[first + 1]);
    if constexpr (std::is_floating_point_v<T>) {
        if (i.flushes) {
            a = flushed(a);
            b = flushed(b);
        }
    }
    return holds<comparison>(a, b);
}

bool combined(const Frame& frame, const Instruction& i, bool value) {
    const Operand& other = i[i.num_operands - 1U];
    switch (i.combination) {
        case Combination::conjunction:
            return value && frame.is_true(other);
        case Combination::disjunction:
            return value || frame.is_true(other);
        case Combination::exclusive:
            return value != frame.is_true(other);
        case Combination::none:
            break;
    }
    return value;
}

template <Comparison comparison, typename T>
void set_predicate(Frame& frame, const Instruction& i) {
    const bool value = compare<comparison, T>(frame, i);
    frame.set(i[0], std::uint32_t(combined(frame, i, value) ? 1 : 0));
    if (i.has_two_results) frame.set(i[1], std::uint32_t(combined(frame, i, !value) ? 1 : 0));
}
/// All ones, or 1.0, where it holds.
template <Comparison comparison, typename T>
void set_integer(Frame& frame, const Instruction& i) {
    frame.set(i[0],
              combined(frame, i, compare<comparison, T>(frame, i)) ? ~std::uint32_t{0} : std::uint32_t{0});
}
template <Comparison comparison, typename T>
void set_float(Frame& frame, const Instruction& i) {
    frame.set(i[0], combined(frame, i, compare<comparison, T>(frame, i)) ? 1.0F : 0.0F);
}

struct Runs {
    Run predicate;
    Run integer;
    Run real;
};
template <Comparison comparison, typename T>
constexpr Runs kRuns{set_predicate<comparison, T>, set_integer<comparison, T>, set_float<comparison, T>};

template <typename T>
Runs for_comparison(Comparison comparison) {
    using enum Comparison;
    constexpr std::array kAll{kRuns<eq, T>,  kRuns<ne, T>,  kRuns<lt, T>,  kRuns<le, T>,  kRuns<gt, T>,
                              kRuns<ge, T>,  kRuns<equ, T>, kRuns<neu, T>, kRuns<ltu, T>, kRuns<leu, T>,
                              kRuns<gtu, T>, kRuns<geu, T>, kRuns<num, T>, kRuns<nan, T>};
    return kAll[std::size_t(comparison)];
}

constexpr std::array<std::string_view, 14> kComparisons{"eq",  "ne",  "lt",  "le",  "gt",  "ge",  "equ",
                                                        "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};

/// Takes the comparison; hi, hs, lo and ls are the unsigned gt, ge, lt and le.
bool take_comparison(Opcode& opcode, Comparison& comparison) {
    for (std::size_t each = 0; each < kComparisons.size(); ++each) {
        if (!opcode.take(kComparisons[each])) continue;
        comparison = Comparison(each);
        return true;
    }
    using enum Comparison;
    for (const auto& [word, meaning] :
         {std::pair<std::string_view, Comparison>{"hi", gt}, {"hs", ge}, {"lo", lt}, {"ls", le}}) {
        if (!opcode.take(word)) continue;
        comparison = meaning;
        return true;
    }
    return false;
}

Runs find_runs(Type type, Comparison comparison) {
    const bool is_signed = type.kind == Kind::signed_integer;
    if (type.kind == Kind::real && type.bits == 32) return for_comparison<float>(comparison);
    if (type.kind == Kind::real && type.bits == 64) return for_comparison<double>(comparison);
    if (!type.is_integer() || comparison >= Comparison::equ) return {};
    switch (type.bits) {
        case 16:
            return is_signed ? for_comparison<std::int16_t>(comparison)
                             : for_comparison<std::uint16_t>(comparison);
        case 32:
            return is_signed ? for_comparison<std::int32_t>(comparison)
                             : for_comparison<std::uint32_t>(comparison);
        case 64:
            return is_signed ? for_comparison<std::int64_t>(comparison)
                             : for_comparison<std::uint64_t>(comparison);
        default:
            return {};
    }
}

Run find_set(Opcode& opcode, Instruction& i) {
    if (!take_comparison(opcode, i.comparison)) return nullptr;
    i.flushes = opcode.take("ftz");
    i.combination = opcode.take("and")   ? Combination::conjunction
                    : opcode.take("or")  ? Combination::disjunction
                    : opcode.take("xor") ? Combination::exclusive
                                         : Combination::none;
    if (opcode.name == "setp")
        return opcode.has_types(1) ? find_runs(opcode.type(), i.comparison).predicate : nullptr;
    if (!opcode.has_types(2) || opcode.type().bits != 32) return nullptr;
    const Runs runs = find_runs(opcode.types[1], i.comparison);
    return opcode.type().kind == Kind::real ? runs.real : runs.integer;
}

template <typename T>
void choose(Frame& frame, const Instruction& i) {
    frame.set(i[0], frame.is_true(i[3]) ? frame.get<T>(i[1]) : frame.get<T>(i[2]));
}

template <typename T, int... classes>
void is_of_class(Frame& frame, const Instruction& i) {
    const int own = std::fpclassify(frame.get<T>(i[1]));
    frame.set(i[0], std::uint32_t(((own == classes) || ...) ? 1 : 0));
}
template <typename T>
Run find_test(Opcode& opcode) {
    if (opcode.take("finite")) return is_of_class<T, FP_NORMAL, FP_SUBNORMAL, FP_ZERO>;
    if (opcode.take("infinite")) return is_of_class<T, FP_INFINITE>;
    if (opcode.take("number")) return is_of_class<T, FP_NORMAL, FP_SUBNORMAL, FP_ZERO, FP_INFINITE>;
    if (opcode.take("notanumber")) return is_of_class<T, FP_NAN>;
    if (opcode.take("normal")) return is_of_class<T, FP_NORMAL>;
    return opcode.take("subnormal") ? is_of_class<T, FP_SUBNORMAL> : nullptr;
}

}  // namespace

Run find_comparison(Opcode& opcode, Instruction& i) {
    if (opcode.name == "setp" || opcode.name == "set") return find_set(opcode, i);
    if (!opcode.has_types(1)) return nullptr;
    const Type type = opcode.type();
    if (opcode.name == "selp") {
        return type.bits == 16   ? choose<std::uint16_t>
               : type.bits == 32 ? choose<std::uint32_t>
               : type.bits == 64 ? choose<std::uint64_t>
                                 : nullptr;
    }
    if (opcode.name == "testp" && type.kind == Kind::real) {
        return type.bits == 32   ? find_test<float>(opcode)
               : type.bits == 64 ? find_test<double>(opcode)
                                 : nullptr;
    }
    return nullptr;
}

}  // namespace sy::emulation::ptx
