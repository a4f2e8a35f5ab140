// Families of instructions, each held to a C++ expression over awkward operands.
#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "tests/cuda_on_cpu/suites/ptx_support.hpp"

using namespace sy::emulation;

namespace {

using Word = std::uint64_t;
__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;

float to_float(Word bits) {
    return std::bit_cast<float>(std::uint32_t(bits));
}
double to_double(Word bits) {
    return std::bit_cast<double>(bits);
}
Word of(float value) {  // with the one NaN that instructions of float give
    return value != value ? 0x7fffffffU : std::bit_cast<std::uint32_t>(value);
}
Word of(double value) {
    return std::bit_cast<Word>(value);
}

constexpr std::size_t kNumCases = 4096;

/// Triples of words at the edges of integers and floats of every width.
std::vector<Word> operands() {
    const std::vector<Word> edges{0,
                                  1,
                                  2,
                                  7,
                                  31,
                                  32,
                                  33,
                                  63,
                                  64,
                                  255,
                                  0x7f,
                                  0x80,
                                  0x7fff,
                                  0x8000,
                                  0xffff,
                                  0x12345678,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x100000000,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  0xffffffffffffffff,
                                  0xdeadbeefcafebabe,
                                  of(1.0F),
                                  of(-1.0F),
                                  of(0.5F),
                                  of(-2.75F),
                                  of(1e-40F),
                                  of(3e38F),
                                  of(1.0F / 3),
                                  0x7f800000,
                                  0xff800000,
                                  of(1.0),
                                  of(-1.5),
                                  of(1e300),
                                  of(1e-310),
                                  of(0.1),
                                  of(12345.678)};
    std::mt19937_64 generator(7);
    std::vector<Word> drawn(3 * kNumCases);
    for (Word& each : drawn) {
        const Word random = generator();
        each = random % 4 == 0 ? generator() : edges[random % edges.size()];
    }
    return drawn;
}

/// Runs `code`, which leaves its result in %rd0 and finds a, b and c in %rd1 to %rd3 and, as narrower values, in %r1 to
/// %r3, %rs1 to %rs3, %f1 to %f3 and %fd1 to %fd3.
template <typename Expected>
void check(const std::string& code, Expected expected) {
    static const std::vector<Word> in = operands();
    static const DeviceArray<Word> on_device(in);
    std::string body = R"(ld.param.u64 %rd14, [in]; ld.param.u64 %rd15, [out];
        mov.u32 %r10, %ctaid.x; mov.u32 %r11, %ntid.x; mov.u32 %r12, %tid.x; mad.lo.s32 %r10, %r10, %r11, %r12;
        mul.wide.u32 %rd13, %r10, 8; add.s64 %rd15, %rd15, %rd13; mad.wide.u32 %rd14, %r10, 24, %rd14;
        mov.u64 %rd0, 0;)";
    for (const char* each : {"1", "2", "3"}) {
        const std::string n = each;
        const std::string at = std::to_string(8 * (std::stoi(n) - 1));
        body += "ld.global.u64 %rd" + n + ", [%rd14+" + at + "]; cvt.u32.u64 %r" + n + ", %rd" + n +
                "; cvt.u16.u64 %rs" + n + ", %rd" + n + "; mov.b32 %f" + n + ", %r" + n + "; mov.b64 %fd" +
                n + ", %rd" + n + ";\n";
    }
    body += code + "\nst.global.u64 [%rd15], %rd0;";
    const DeviceArray<Word> out(kNumCases);
    const std::string text = module_with("", ".param .u64 .ptr in, .param .u64 .ptr out", body);
    INFO(code);
    REQUIRE(run_ptx(text, dim3(kNumCases / 256), dim3(256), 0, on_device.get(), out.get()) == cudaSuccess);
    const std::vector<Word> results = out.to_host();
    for (std::size_t i = 0; i < kNumCases; ++i) {
        const Word a = in[3 * i], b = in[3 * i + 1], c = in[3 * i + 2];
        const Word wanted = Word(expected(a, b, c));
        if (results[i] == wanted) continue;
        CAPTURE(a, b, c, results[i], wanted);
        FAIL("an instruction gives another result");
    }
}

/// Of 32 bits, with the result in %r0; `%r0` is widened without a sign.
template <typename Expected>
void check_32(const std::string& code, Expected expected) {
    check(code + " cvt.u64.u32 %rd0, %r0;", [expected](Word a, Word b, Word c) {
        return Word(std::uint32_t(expected(std::uint32_t(a), std::uint32_t(b), std::uint32_t(c))));
    });
}
template <typename Expected>
void check_float(const std::string& code, Expected expected) {
    check(code + " mov.b32 %r0, %f0; cvt.u64.u32 %rd0, %r0;", [expected](Word a, Word b, Word c) {
        return of(float(expected(to_float(a), to_float(b), to_float(c))));
    });
}
/// The payload of a NaN is nobody's concern.
template <typename Expected>
void check_double(const std::string& code, Expected expected) {
    check(code + " setp.nan.f64 %p1, %fd0, %fd0; mov.b64 %rd0, %fd0; selp.b64 %rd0, 1, %rd0, %p1;",
          [expected](Word a, Word b, Word c) {
              const double value = expected(to_double(a), to_double(b), to_double(c));
              return value != value ? Word(1) : of(value);
          });
}

std::int32_t as_signed(std::uint32_t value) {
    return std::int32_t(value);
}

}  // namespace

TEST_CASE("ptx: integers are added, multiplied and divided as C++ does, and wrap round", "[unit]") {
    check_32("sub.s32 %r0, %r1, %r2;", [](auto a, auto b, auto) { return a - b; });
    check_32("mad.lo.s32 %r0, %r1, %r2, %r3;", [](auto a, auto b, auto c) { return a * b + c; });
    check_32("mul.hi.u32 %r0, %r1, %r2;", [](auto a, auto b, auto) { return Word(a) * b >> 32; });
    check_32("mad.hi.s32 %r0, %r1, %r2, %r3;", [](auto a, auto b, auto c) {
        return Word(std::int64_t(as_signed(a)) * as_signed(b) >> 32) + c;
    });
    check("mul.wide.s32 %rd0, %r1, %r2;",
          [](Word a, Word b, Word) { return Word(std::int64_t(std::int32_t(a)) * std::int32_t(b)); });
    check("mad.wide.u16 %r0, %rs1, %rs2, %r3; cvt.u64.u32 %rd0, %r0;",
          [](Word a, Word b, Word c) { return std::uint32_t((a & 0xffffU) * (b & 0xffffU) + c); });
    check("mul.hi.u64 %rd0, %rd1, %rd2;",
          [](Word a, Word b, Word) { return Word(UnsignedWide(a) * b >> 64); });
    check("mul.hi.s64 %rd0, %rd1, %rd2;",
          [](Word a, Word b, Word) { return Word(Wide(std::int64_t(a)) * std::int64_t(b) >> 64); });
    check("or.b64 %rd4, %rd2, 1; div.u64 %rd0, %rd1, %rd4;",
          [](Word a, Word b, Word) { return a / (b | 1); });
    check("or.b32 %r4, %r2, 2; rem.s32 %r4, %r1, %r4; cvt.s64.s32 %rd0, %r4;", [](Word a, Word b, Word) {
        const std::int64_t by = std::int32_t(b | 2);
        return Word(std::int64_t(std::int32_t(a)) % by);
    });
    check("abs.s64 %rd4, %rd1; neg.s64 %rd5, %rd2; min.s64 %rd4, %rd4, %rd5; max.u64 %rd0, %rd4, %rd3;",
          [](Word a, Word b, Word c) {
              const Word size = std::int64_t(a) < 0 ? 0 - a : a;
              return std::max(Word(std::min(std::int64_t(size), std::int64_t(0 - b))), c);
          });
    check("add.s16 %rs4, %rs1, %rs2; cvt.s64.s16 %rd0, %rs4;",
          [](Word a, Word b, Word) { return Word(std::int64_t(std::int16_t(a + b))); });
}

TEST_CASE("ptx: sums and products of several words carry", "[unit]") {
    check(
        "cvt.u32.u64 %r4, %rd1; shr.u64 %rd5, %rd1, 32; cvt.u32.u64 %r5, %rd5; cvt.u32.u64 %r6, %rd2;"
        "shr.u64 %rd6, %rd2, 32; cvt.u32.u64 %r7, %rd6; add.cc.u32 %r4, %r4, %r6; addc.u32 %r5, %r5, %r7;"
        "mov.b64 %rd0, {%r4, %r5};",
        [](Word a, Word b, Word) { return a + b; });
    check(
        "mov.b64 {%r4, %r5}, %rd1; mov.b64 {%r6, %r7}, %rd2; sub.cc.u32 %r4, %r4, %r6; subc.u32 %r5, %r5, "
        "%r7;"
        "mov.b64 %rd0, {%r4, %r5};",
        [](Word a, Word b, Word) { return a - b; });
    check(
        "mad.lo.cc.u32 %r4, %r1, %r2, %r3; madc.hi.u32 %r5, %r1, %r2, 0; mov.b64 %rd0, {%r4, %r5};",
        [](Word a, Word b, Word c) { return Word(std::uint32_t(a)) * std::uint32_t(b) + std::uint32_t(c); });
}

TEST_CASE("ptx: bits are shifted, counted, found, taken out and put in", "[unit]") {
    check("shl.b64 %rd0, %rd1, %r2;",
          [](Word a, Word b, Word) { return std::uint32_t(b) < 64 ? a << std::uint32_t(b) : 0; });
    check("shr.s64 %rd0, %rd1, %r2;", [](Word a, Word b, Word) {
        return Word(std::int64_t(a) >> std::min<std::uint32_t>(std::uint32_t(b), 63));
    });
    check_32("shr.u32 %r0, %r1, %r2;", [](auto a, auto b, auto) { return b < 32 ? a >> b : 0; });
    check_32("shf.l.wrap.b32 %r0, %r1, %r2, %r3;",
             [](auto a, auto b, auto c) { return (Word(b) << 32 | a) << (c & 31) >> 32; });
    check_32("shf.r.clamp.b32 %r0, %r1, %r2, %r3;",
             [](auto a, auto b, auto c) { return (Word(b) << 32 | a) >> std::min(c, 32U); });
    check_32("lop3.b32 %r0, %r1, %r2, %r3, 0xE2;",  // b chooses between a and c
             [](auto a, auto b, auto c) { return (b & a) | (~b & c); });
    check("popc.b64 %r4, %rd1; cvt.u64.u32 %rd0, %r4;",
          [](Word a, Word, Word) { return Word(std::popcount(a)); });
    check_32("clz.b32 %r4, %r2; brev.b32 %r5, %r3; xor.b32 %r0, %r4, %r5;", [](auto, auto b, auto c) {
        std::uint32_t reversed = 0;
        for (int bit = 0; bit < 32; ++bit) reversed |= (c >> bit & 1U) << (31 - bit);
        return std::uint32_t(std::countl_zero(b)) ^ reversed;
    });
}

TEST_CASE("ptx: fields and bytes", "[unit]") {
    check_32("and.b32 %r4, %r2, 31; and.b32 %r5, %r3, 15; bfe.u32 %r0, %r1, %r4, %r5;",
             [](auto a, auto b, auto c) { return a >> (b & 31) & ((1U << (c & 15)) - 1); });
    check_32("and.b32 %r4, %r2, 15; and.b32 %r5, %r3, 15; add.u32 %r5, %r5, 1; bfe.s32 %r0, %r1, %r4, %r5;",
             [](auto a, auto b, auto c) {
                 const std::uint32_t size = (c & 15) + 1;
                 return std::uint32_t(std::int32_t(a >> (b & 15) << (32 - size)) >> (32 - size));
             });
    check_32("bfi.b32 %r0, %r1, %r2, 12, 9;",
             [](auto a, auto b, auto) { return (b & ~0x1ff000U) | (a & 0x1ffU) << 12; });
    check_32("prmt.b32 %r0, %r1, %r2, 0x7250;", [](auto a, auto b, auto) {
        return (a & 0xffU) | (b >> 8 & 0xffU) << 8 | (a >> 16 & 0xffU) << 16 | b >> 24 << 24;
    });
    check_32("prmt.b32 %r0, %r1, %r2, 0x3B98;", [](auto a, auto, auto) {
        const auto spread = [a](unsigned byte) { return (a >> (8 * byte + 7) & 1) != 0 ? 0xffU : 0U; };
        return spread(0) | spread(1) << 8 | spread(3) << 16 | a >> 24 << 24;
    });
    check_32("bfind.u32 %r0, %r1;", [](auto a, auto, auto) { return 31 - std::countl_zero(a); });
    check_32("bfind.shiftamt.s32 %r0, %r1;", [](auto a, auto, auto) {
        const int zeros = std::countl_zero(as_signed(a) < 0 ? ~a : a);
        return zeros == 32 ? -1 : zeros;
    });
}

TEST_CASE("ptx: floats and doubles", "[unit]") {
    check_float("add.f32 %f0, %f1, %f2;", [](float a, float b, float) { return a + b; });
    check_float("fma.rn.f32 %f0, %f1, %f2, %f3;",
                [](float a, float b, float c) { return std::fma(a, b, c); });
    check_float("div.rn.f32 %f4, %f1, %f2; sub.rn.f32 %f0, %f4, %f3;",
                [](float a, float b, float c) { return a / b - c; });
    check_float("abs.f32 %f4, %f1; sqrt.rn.f32 %f4, %f4; neg.f32 %f4, %f4; add.f32 %f0, %f4, 0f80000000;",
                [](float a, float, float) { return -std::sqrt(std::fabs(a)); });
    // -0 is below 0, and NaN is no operand.
    check_float("min.f32 %f4, %f1, %f2; max.f32 %f0, %f4, %f3;", [](float a, float b, float c) {
        const float low = a == b ? (std::signbit(a) ? a : b) : std::fmin(a, b);
        return low == c ? (std::signbit(low) ? c : low) : std::fmax(low, c);
    });
    check("copysign.f32 %f4, %f1, %f2; mov.b32 %r0, %f4; cvt.u64.u32 %rd0, %r0;",
          [](Word a, Word b, Word) { return (a & 0x80000000U) | (b & 0x7fffffffU); });
    check_float("fma.rn.sat.f32 %f0, %f1, %f2, %f3;", [](float a, float b, float c) {
        const float sum = std::fma(a, b, c);
        return sum > 0 ? std::min(sum, 1.0F) : 0.0F;
    });
    check_double("fma.rn.f64 %fd0, %fd1, %fd2, %fd3;",
                 [](double a, double b, double c) { return std::fma(a, b, c); });
    check_double("div.rn.f64 %fd4, %fd1, %fd2; mul.rn.f64 %fd0, %fd4, %fd3;",
                 [](double a, double b, double c) { return a / b * c; });
    check_double("sub.f64 %fd4, %fd1, %fd2; abs.f64 %fd4, %fd4; sqrt.rn.f64 %fd0, %fd4;",
                 [](double a, double b, double) { return std::sqrt(std::fabs(a - b)); });
}

TEST_CASE("ptx: every rounding, of sums that are no floats", "[unit]") {
    // 1 + 2^-30 is between 1 and the next float; so is -1 - 2^-30.
    const std::map<std::string, std::array<float, 2>> expected{{"rn", {1.0F, -1.0F}},
                                                               {"rz", {1.0F, -1.0F}},
                                                               {"rm", {1.0F, -0x1.000002p0F}},
                                                               {"rp", {0x1.000002p0F, -1.0F}}};
    for (const auto& [rounding, values] : expected) {
        const auto value = [values = values](float, float, float) { return values[0]; };
        const auto negative = [values = values](float, float, float) { return values[1]; };
        check_float("add." + rounding + ".f32 %f0, 0f3F800000, 0f30800000;", value);
        check_float("fma." + rounding + ".f32 %f0, 0f3F800000, 0f30800000, 0f3F800000;", value);
        check_float("sub." + rounding + ".f32 %f0, 0fBF800000, 0f30800000;", negative);
        check_float("cvt." + rounding + ".f32.f64 %f0, 0d3FF0000004000000;", value);  // 1 + 2^-30
        check_float("mov.u64 %rd4, -1073741825; cvt." + rounding +
                        ".f32.s64 %f4, %rd4; mul.f32 %f0, %f4, 0f30800000;",
                    negative);  // -(2^30 + 1) * 2^-30
    }
    check_float("add.ftz.f32 %f0, 0f00000001, 0f80400000;", [](float, float, float) { return 0.0F; });
}

TEST_CASE("ptx: conversions extend, clamp and round", "[unit]") {
    check("cvt.s64.s8 %rd0, %rd1;", [](Word a, Word, Word) { return Word(std::int64_t(std::int8_t(a))); });
    check("cvt.sat.u8.s32 %r4, %r1; cvt.u64.u32 %rd0, %r4;",
          [](Word a, Word, Word) { return Word(std::clamp(std::int32_t(a), 0, 255)); });
    check("cvt.rn.f32.u64 %f4, %rd1; mov.b32 %r0, %f4; cvt.u64.u32 %rd0, %r0;",
          [](Word a, Word, Word) { return of(float(a)); });
    check_double("cvt.rn.f64.s64 %fd4, %rd1; cvt.f64.f32 %fd5, 0f3F000000; mul.f64 %fd0, %fd4, %fd5;",
                 [](double a, double, double) { return double(std::int64_t(of(a))) * 0.5; });
    check_float("cvt.rmi.f32.f32 %f0, %f1;", [](float a, float, float) { return std::floor(a); });
    check_double("cvt.rni.f64.f64 %fd0, %fd1;", [](double a, double, double) { return std::nearbyint(a); });
    check("cvt.rzi.s32.f32 %r4, %f1; cvt.u64.u32 %rd0, %r4;", [](Word a, Word, Word) {
        const float value = to_float(a);
        if (value != value) return Word(0);
        return Word(std::uint32_t(std::int32_t(std::clamp(double(value), -0x1p31, 0x1p31 - 1))));
    });
    check("cvt.rpi.u64.f64 %rd0, %fd1;", [](Word a, Word, Word) {
        const double value = std::ceil(to_double(a));
        if (value != value) return Word(1) << 63;
        return value >= 0x1p64 ? ~Word(0) : value <= 0 ? Word(0) : Word(value);
    });
}

TEST_CASE("ptx: numbers of sixteen bits are rounded once, in every rounding", "[unit]") {
    const auto to_bf16 = [](float value) {  // as kernels/core does: to nearest even, by integers
        if (value != value) return Word(0x7fff);
        const auto bits = std::bit_cast<std::uint32_t>(value);
        return Word((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
    };
    check("cvt.rn.bf16.f32 %rs4, %f1; cvt.u64.u16 %rd0, %rs4;",
          [to_bf16](Word a, Word, Word) { return to_bf16(to_float(a)); });
    check("cvt.rn.bf16x2.f32 %r4, %f1, %f2; cvt.u64.u32 %rd0, %r4;",
          [to_bf16](Word a, Word b, Word) { return to_bf16(to_float(a)) << 16 | to_bf16(to_float(b)); });
    check("cvt.rz.bf16.f32 %rs4, %f1; cvt.u64.u16 %rd0, %rs4;", [](Word a, Word, Word) {
        return to_float(a) != to_float(a) ? Word(0x7fff) : (a & 0xffffffffU) >> 16;
    });
    check("cvt.f32.bf16 %f4, %rs1; mov.b32 %r0, %f4; cvt.u64.u32 %rd0, %r0;",
          [](Word a, Word, Word) { return of(to_float((a & 0xffffU) << 16)); });
    // Of half precision, the ends and what is between: 65504, 65520 (halfway, to infinity), 2^-24, 2^-25 (to even).
    const std::vector<std::pair<float, std::uint16_t>> halves{
        {1.0F, 0x3c00},      {-2.0F, 0xc000},        {65504.0F, 0x7bff},     {65519.0F, 0x7bff},
        {65520.0F, 0x7c00},  {0x1p-24F, 0x0001},     {0x1p-25F, 0x0000},     {0x1.8p-25F, 0x0001},
        {0x1p-14F, 0x0400},  {0x1.ff8p-15F, 0x03ff}, {0x1.ffep-15F, 0x0400}, {0x1.002p0F, 0x3c00},
        {0x1.006p0F, 0x3c02}};
    for (const auto& [value, bits] : halves) {
        std::array<char, 16> text{};
        std::snprintf(text.data(), text.size(), "0f%08X", std::bit_cast<std::uint32_t>(value));
        check("mov.b32 %f4, " + std::string(text.data()) +
                  "; cvt.rn.f16.f32 %rs4, %f4; cvt.u64.u16 %rd0, %rs4;",
              [bits = bits](Word, Word, Word) { return Word(bits); });
    }
    check_float("cvt.rn.f16.f32 %rs4, 0f43481000; cvt.f32.f16 %f0, %rs4;",
                [](float, float, float) { return 200.0F; });
}

TEST_CASE("ptx: comparisons, with NaN and combined", "[unit]") {
    const auto one = [](bool value) { return Word(value ? 1 : 0); };
    check("setp.lt.s32 %p1, %r1, %r2; selp.u64 %rd0, 1, 0, %p1;",
          [one](Word a, Word b, Word) { return one(std::int32_t(a) < std::int32_t(b)); });
    check("setp.hi.u64 %p1, %rd1, %rd2; selp.u64 %rd0, 1, 0, %p1;",
          [one](Word a, Word b, Word) { return one(a > b); });
    check(
        "setp.gt.f32 %p1, %f1, %f2; setp.leu.and.f32 %p2|%p3, %f2, %f3, %p1; selp.u64 %rd4, 2, 0, %p2;"
        "selp.u64 %rd5, 1, 0, %p3; or.b64 %rd0, %rd4, %rd5;",
        [](Word a, Word b, Word c) {
            if (!(to_float(a) > to_float(b))) return Word(0);
            return to_float(b) > to_float(c) ? Word(1) : Word(2);
        });
    check(
        "setp.neu.f64 %p1, %fd1, %fd2; not.pred %p2, %p1; setp.eq.or.u16 %p3, %rs1, %rs2, !%p2;"
        "selp.u64 %rd0, 1, 0, %p3;",
        [one](Word a, Word b, Word) {
            return one((a & 0xffffU) == (b & 0xffffU) || to_double(a) != to_double(b));
        });
    check("set.ge.u32.f32 %r0, %f1, %f2; cvt.u64.u32 %rd0, %r0;",
          [](Word a, Word b, Word) { return to_float(a) >= to_float(b) ? Word(0xffffffffU) : Word(0); });
    check("testp.finite.f32 %p1, %f1; @!%p1 bra SKIP; mov.u64 %rd0, 5; SKIP:",
          [](Word a, Word, Word) { return std::isfinite(to_float(a)) ? Word(5) : Word(0); });
}
