#include "kernels/core/isa.hpp"

#include <catch2/catch.hpp>

#include <string>

#include "kernels/core/error.hpp"
#include "kernels/core/simd.hpp"

using namespace sy;

TEST_CASE("isa: every instruction set has a name of its own, and is chosen by it", "[unit]") {
    for (const Isa one : kIsas) {
        CHECK(choose_isa(std::string(isa_name(one)).c_str(), kIsas.back()) == one);
        CHECK(choose_isa(std::string(isa_name(one)).c_str(), one) == one);
    }
    CHECK(isa_name(Isa::generic) == "generic");
    CHECK(isa_name(Isa::avx512_bf16) == "avx512_bf16");
    CHECK(isa_name(Isa::amx_bf16) == "amx_bf16");
}

TEST_CASE("isa: without a wish it is the processor's best", "[unit]") {
    for (const Isa best : kIsas) {
        CHECK(choose_isa(nullptr, best) == best);
        CHECK(choose_isa("", best) == best);
    }
}

TEST_CASE("isa: a name that is none, or beyond the processor, is refused with what would do", "[unit]") {
    for (const char* const name : {"AVX2", "avx", "avx5120", " avx2", "none"}) {
        CHECK_THROWS_AS(choose_isa(name, kIsas.back()), ConfigError);
    }
    CHECK_THROWS_WITH(
        choose_isa("sse", Isa::avx2),
        "SWITCHYARD_ISA=sse names no instruction set; it is generic, avx2, avx512, avx512_bf16 or amx_bf16");
    CHECK_THROWS_WITH(choose_isa("avx512", Isa::avx2),
                      "SWITCHYARD_ISA=avx512: this processor has avx2 at most; unset it or name a lower one");
}

TEST_CASE("isa: the process uses what the variable names, and bodies follow it", "[unit]") {
    CHECK(isa() == choose_isa(std::getenv(kIsaVariable), best_isa()));
    CHECK(isa() <= best_isa());
    CHECK(simd::for_isa([]() SY_BODY { return 7; }) == 7);
}
