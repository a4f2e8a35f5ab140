// Memory, control and the warp, in PTX; and what is refused.
#include <numeric>

#include "tests/cuda_on_cpu/suites/ptx_support.hpp"

using namespace sy::emulation;
using Catch::Matchers::Contains;

namespace {

using Words = std::vector<std::uint32_t>;

/// What each of 64 threads (two blocks of one warp) leaves in %r0.
Words results_of(const std::string& code, const std::string& before = "", std::size_t dynamic_bytes = 0) {
    const DeviceArray<std::uint32_t> out(64);
    const std::string body =
        R"(mov.u32 %r1, %laneid; mov.u32 %r2, %ctaid.x; shl.b32 %r3, %r2, 5; add.u32 %r3, %r3, %r1;
        ld.param.u64 %rd1, [out]; mul.wide.u32 %rd2, %r3, 4; add.s64 %rd2, %rd1, %rd2; mov.u32 %r0, 0;)" +
        code + "\nst.global.u32 [%rd2], %r0;";
    INFO(code);
    REQUIRE(run_ptx(module_with(before, ".param .u64 .ptr out", body), dim3(2), dim3(32), dynamic_bytes,
                    out.get()) == cudaSuccess);
    return out.to_host();
}

template <typename Expected>
void check(const std::string& code, Expected expected, const std::string& before = "",
           std::size_t dynamic_bytes = 0) {
    const Words results = results_of(code, before, dynamic_bytes);
    for (std::uint32_t i = 0; i < 64; ++i) {
        INFO(code << ", thread " << i);
        REQUIRE(results[i] == std::uint32_t(expected(i % 32, i / 32)));
    }
}

/// What is reported of code that breaks a rule.
std::string fault_of(const std::string& code, const std::string& before = "", std::size_t dynamic_bytes = 0) {
    const Machine machine;
    const DeviceArray<std::uint32_t> out(64);
    const std::string text =
        module_with(before, ".param .u64 .ptr out", "ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x;" + code);
    CHECK(run_ptx(text, dim3(1), dim3(32), dynamic_bytes, out.get()) != cudaSuccess);
    return last_report();
}

std::string refusal_of(const std::string& code, const std::string& before = "") {
    try {
        ptx::parse(module_with(before, ".param .u64 out", code), "a test");
    } catch (const ptx::PtxError& error) {
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("ptx: lanes exchange, vote and reduce", "[unit]") {
    check("shfl.sync.bfly.b32 %r0, %r1, 5, 31, -1;", [](auto lane, auto) { return lane ^ 5; });
    check("shfl.sync.up.b32 %r0|%p1, %r1, 3, 0, -1; @!%p1 mov.u32 %r0, 99;",
          [](auto lane, auto) { return lane < 3 ? 99 : lane - 3; });
    check(
        "shfl.sync.down.b32 %r0|%p1, %r1, 2, 0x181F, -1; @!%p1 add.u32 %r0, %r0, 100;",  // in groups of eight
        [](auto lane, auto) { return lane % 8 < 6 ? lane + 2 : lane + 100; });
    check("shfl.sync.idx.b32 %r0, %r3, 7, 31, -1;", [](auto, auto block) { return 32 * block + 7; });
    check("and.b32 %r4, %r1, 3; setp.eq.u32 %p1, %r4, 1; vote.sync.ballot.b32 %r0, %p1, -1;",
          [](auto, auto) { return 0x22222222U; });
    check(
        "setp.lt.u32 %p1, %r1, 31; vote.sync.all.pred %p2, %p1, -1; vote.sync.any.pred %p3, %p1, -1;"
        "selp.u32 %r0, 2, 0, %p2; selp.u32 %r4, 1, 0, %p3; or.b32 %r0, %r0, %r4;",
        [](auto, auto) { return 1; });
    check("shr.u32 %r4, %r1, 3; match.any.sync.b32 %r0, %r4, -1;",
          [](auto lane, auto) { return 0xffU << (lane / 8 * 8); });
    check("redux.sync.add.s32 %r0, %r1, -1;", [](auto, auto) { return 496; });
    check("sub.s32 %r4, %r1, 9; redux.sync.min.s32 %r0, %r4, -1;", [](auto, auto) { return -9; });
    check("setp.ge.u32 %p1, %r1, 20; bar.red.popc.u32 %r0, 0, %p1;", [](auto, auto) { return 12; });
    check("setp.ge.u32 %p1, %r1, 20; bar.red.or.pred %p2, 0, %p1; selp.u32 %r0, 1, 0, %p2;",
          [](auto, auto) { return 1; });
    check("mov.u32 %r0, %lanemask_lt; activemask.b32 %r4; and.b32 %r0, %r0, %r4; bar.warp.sync -1;",
          [](auto lane, auto) { return (1U << lane) - 1; });
}

TEST_CASE("ptx: shared memory, of the function and of the launch, at addresses of its own and generic ones",
          "[unit]") {
    const std::string write_and_read = R"(mul.lo.u32 %r4, %r1, 4; mov.u32 %r5, values; add.u32 %r6, %r5, %r4;
        st.shared.u32 [%r6], %r3; bar.sync 0; sub.u32 %r7, 124, %r4; add.u32 %r7, %r5, %r7; cvt.u64.u32 %rd3, %r7;
        cvta.shared.u64 %rd3, %rd3; ld.u32 %r0, [%rd3];)";
    const auto reversed = [](auto lane, auto block) { return 32 * block + 31 - lane; };
    check(".shared .align 4 .b8 other[12]; .shared .align 4 .b8 values[128];" + write_and_read, reversed);
    check(write_and_read, reversed, ".extern .shared .align 16 .b8 values[];", 128);
    check(".shared .align 4 .b8 values[128]; mov.u32 %r4, values; ld.shared.u32 %r0, [%r4+64];",
          [](auto, auto) { return 0xffffffffU; });  // nobody has written
}

TEST_CASE("ptx: local arrays, variables of the module, and vectors", "[unit]") {
    check(
        R"(.local .align 16 .b8 depot[64]; mov.u64 %rd3, depot; cvta.local.u64 %rd4, %rd3; and.b32 %r4, %r1, 15;
        mul.wide.u32 %rd5, %r4, 4; add.s64 %rd5, %rd4, %rd5; st.u32 [%rd5], %r3; add.s64 %rd6, %rd3, 0;
        st.local.v2.u32 [%rd6+8], {%r1, %r2}; ld.local.v4.u32 {%r5, %r6, %r7, _}, [depot]; add.u32 %r0, %r7, 0;)",
        [](auto lane, auto) { return lane; });
    check(R"(and.b32 %r4, %r1, 3; mul.wide.u32 %rd3, %r4, 2; mov.u64 %rd4, table; add.s64 %rd4, %rd4, %rd3;
        ld.const.s16 %r5, [%rd4]; ld.global.u64 %rd5, [pointer]; ld.u8 %r6, [%rd5+1]; add.u32 %r0, %r5, %r6;)",
          [](auto lane, auto) {
              return std::array{-1, 5, 300, 7}[lane % 4] + 22;
          },
          ".const .align 2 .u16 table[4] = {65535, 5, 0x12C, 7};\n.global .align 1 .b8 bytes[3] = {11, 22, "
          "33};\n"
          ".global .align 8 .u64 pointer[1] = {generic(bytes)};");
    check(
        "mov.b64 %rd3, {%r1, %r2}; mov.b64 {%r4, %r5}, %rd3; mov.b32 {%rs1, %rs2}, %r4; mov.b32 %r6, {%rs2, "
        "%rs1};"
        "add.u32 %r0, %r6, %r5;",
        [](auto lane, auto block) { return (lane << 16) + block; });
}

TEST_CASE("ptx: atomic operations of many threads", "[unit]") {
    check(
        R"(.shared .align 8 .b8 sums[32]; mov.u32 %r4, sums; setp.ne.u32 %p1, %r1, 0; @%p1 bra START; mov.u64 %rd3, 0;
        st.shared.v2.u64 [%r4], {%rd3, %rd3}; st.shared.v2.u64 [%r4+16], {%rd3, %rd3};
        START: bar.sync 0; red.shared.add.u32 [%r4], 3; atom.shared.max.u32 %r5, [%r4+4], %r1;
        cvt.rn.f32.u32 %f1, %r1; atom.shared.add.f32 %f2, [%r4+8], %f1; cvt.u64.u32 %rd4, %r1;
        red.shared.add.u64 [%r4+16], %rd4; shl.b32 %r7, 1, %r1; red.shared.or.b32 [%r4+24], %r7; bar.sync 0;
        ld.shared.u32 %r5, [%r4]; ld.shared.u32 %r6, [%r4+4]; ld.shared.f32 %f1, [%r4+8]; cvt.rzi.u32.f32 %r7, %f1;
        ld.shared.u32 %r8, [%r4+16]; ld.shared.u32 %r9, [%r4+24]; not.b32 %r9, %r9; add.u32 %r0, %r5, %r6;
        add.u32 %r0, %r0, %r7; add.u32 %r0, %r0, %r8; add.u32 %r0, %r0, %r9;)",
        [](auto, auto) { return 96 + 31 + 496 + 496; });
    check(
        "atom.global.cas.b32 %r5, [%rd2], -1, 8; atom.global.exch.b32 %r6, "
        "[%rd2], 9;"
        "atom.global.inc.u32 %r7, [%rd2], 9; sub.u32 %r0, %r6, %r7; ld.global.u32 %r8, [%rd2]; add.u32 %r0, "
        "%r0, %r8;",
        [](auto, auto) { return -1; });
}

TEST_CASE("ptx: branches by a table, loops, calls and exits", "[unit]") {
    check(R"(and.b32 %r4, %r1, 3; TABLE: .branchtargets A, B, C, B; brx.idx %r4, TABLE;
        A: mov.u32 %r0, 10; bra.uni END; B: mov.u32 %r0, 20; bra.uni END; C: mov.u32 %r0, 30; END:)",
          [](auto lane, auto) {
              return std::array{10, 20, 30, 20}[lane % 4];
          });
    check(
        "mov.u32 %r4, 0; LOOP: add.u32 %r0, %r0, %r4; add.u32 %r4, %r4, 1; setp.le.u32 %p1, %r4, %r1; @%p1 "
        "bra LOOP;",
        [](auto lane, auto) { return lane * (lane + 1) / 2; });
    const std::string factorial =
        R"(.func (.param .b32 result) factorial(.param .b32 n) { .reg .pred %p<2>; .reg .b32 %r<5>;
        ld.param.b32 %r1, [n]; setp.lt.u32 %p1, %r1, 2; mov.u32 %r2, 1; @%p1 bra DONE; sub.u32 %r3, %r1, 1;
        { .param .b32 argument; st.param.b32 [argument], %r3; .param .b32 back; call.uni (back), factorial, (argument);
          ld.param.b32 %r4, [back]; } mul.lo.u32 %r2, %r1, %r4; DONE: st.param.b32 [result], %r2; ret; })";
    check(
        "and.b32 %r4, %r1, 7; { .param .b32 p0; st.param.b32 [p0], %r4; .param .b32 r0; call (r0), "
        "factorial, (p0);"
        "ld.param.b32 %r0, [r0]; }",
        [](auto lane, auto) { return std::array{1, 1, 2, 6, 24, 120, 720, 5040}[lane % 8]; }, factorial);
    check("{ .reg .b32 low; add.u32 low, %r1, 1; { .reg .b32 low; mov.u32 low, 50; } mov.u32 %r0, low; }",
          [](auto lane, auto) { return lane + 1; });
    check("st.global.u32 [%rd2], 77; setp.gt.u32 %p1, %r1, 15; @%p1 exit; mov.u32 %r0, 5;",
          [](auto lane, auto) { return lane > 15 ? 77 : 5; });
}

TEST_CASE("ptx: an access out of bounds, misaligned, or of what is constant is named with its instruction",
          "[unit]") {
    CHECK_THAT(fault_of("st.global.u32 [%rd1+256], %r1;"),
               Contains("256 bytes into an allocation of 256 bytes") && Contains("a write of 4 bytes") &&
                   Contains("st.global.u32 [%rd1+256], %r1"));
    CHECK_THAT(fault_of("ld.global.v2.u64 {%rd2, %rd3}, [%rd1+248];"), Contains("a read of 16 bytes"));
    CHECK_THAT(fault_of("ld.global.v4.u32 {%r2, %r3, %r4, %r5}, [%rd1+8];"),
               Contains("misaligned: a read of 16 bytes"));
    CHECK_THAT(fault_of("ld.global.u32 %r2, [%rd1+-4096];"), Contains("a read of 4 bytes"));
    CHECK_THAT(fault_of("mov.u64 %rd2, 64; ld.u32 %r2, [%rd2];"), Contains("no memory of the device"));
    CHECK_THAT(fault_of("mov.u64 %rd2, table; st.u32 [%rd2], 1;", ".const .align 4 .u32 table[2] = {1, 2};"),
               Contains("which is constant"));
    CHECK_THAT(
        fault_of(
            "mul.lo.u32 %r2, %r1, 4; mov.u32 %r3, values; add.u32 %r3, %r3, %r2; st.shared.u32 [%r3], 1;",
            ".extern .shared .align 16 .b8 values[];", 124),
        Contains("byte 124 of 124 bytes of dynamic shared memory"));
    CHECK_THAT(fault_of(".shared .align 4 .b8 values[8]; mov.u32 %r3, values; ld.shared.u32 %r4, [%r3+8];"),
               Contains("byte 8 of values, a shared variable of 8 bytes"));
    CHECK_THAT(fault_of(".local .align 4 .b8 values[8]; st.local.u32 [values+8], 1;"),
               Contains("a write of 4 bytes"));
    CHECK_THAT(fault_of("trap;"), Contains("a trap"));
    CHECK_THAT(fault_of("{ .param .b64 a; st.param.b64 [a], 0; call vprintf, (a); }",
                        ".extern .func vprintf(.param .b64 a);"),
               Contains("a call of vprintf"));
    CHECK_THAT(fault_of(".loc 1 42 7\nld.global.u32 %r2, [%rd1+1];", ".file 1 \"source.cu\"\n"),
               Contains("source.cu:42"));
}

TEST_CASE("ptx: a launch of more threads than the kernel is compiled for is refused", "[unit]") {
    const Machine machine;
    std::string text = module_with("", ".param .u64 out", "");
    text.replace(text.find("\n{"), 2, "\n.maxntid 64\n{");
    const std::uint64_t none = 0;
    CHECK(run_ptx(text, dim3(1), dim3(64), 0, none) == cudaSuccess);
    CHECK(run_ptx(text, dim3(1), dim3(96), 0, none) == cudaErrorInvalidConfiguration);
    CHECK_THAT(last_report(), Contains("96 threads, of a kernel that is compiled for 64"));
}

TEST_CASE("ptx: an instruction that is not interpreted is named with its text and function", "[unit]") {
    CHECK_THAT(refusal_of("wgmma.fence.sync.aligned;"),
               Contains("'wgmma.fence.sync.aligned'") && Contains("function run") && Contains("a test"));
    CHECK_THAT(refusal_of("add.sat.s32 %r1, %r2, %r3;"), Contains("add.sat.s32"));
    CHECK_THAT(refusal_of("ld.global.L2::256B.u32 %r1, [%rd1];"), Contains("L2::256B"));
    CHECK_THAT(refusal_of("fma.f32 %f1, %f2, %f3, %f4;"), Contains("fma.f32"));
    CHECK_THAT(refusal_of("bra NOWHERE;"), Contains("NOWHERE"));
    CHECK_THAT(refusal_of("mov.u32 %r1, nothing;"), Contains("unknown name nothing"));
    CHECK_THAT(refusal_of("", ".shared .align 4 .b8 values[8];"), Contains("a shared variable of a module"));
}
