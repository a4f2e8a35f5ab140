#include "runtime/train/isa_bits.hpp"

#include <catch2/catch.hpp>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/error.hpp"
#include "runtime/checkpoint/manifest.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

Config config_of(NumericsMode numerics, DType dtype) {
    Config config;
    config.numerics = numerics;
    config.model.dtype = dtype;
    return config;
}

/// What each rank is told; empty when nothing is wrong.
std::vector<std::string> told(const Config& config, const std::vector<std::string>& of_rank) {
    std::vector<std::string> messages(of_rank.size());
    comm::LocalFabric(static_cast<int>(of_rank.size())).run([&](comm::Communicator& world) {
        const auto rank = static_cast<std::size_t>(world.rank());
        try {
            check_isa_of_ranks(config, of_rank[rank], world);
        } catch (const ConfigError& error) {
            messages[rank] = error.what();
        }
    });
    return messages;
}

}  // namespace

TEST_CASE("isa bits: ranks that round products of bf16 differently are refused where bits are promised",
          "[unit]") {
    const Config strict = config_of(NumericsMode::reproducible, DType::bf16);
    for (const std::string& message : told(strict, {"avx512_bf16", "avx2", "avx512"})) {
        CHECK(message ==
              "numerics.mode = reproducible with model.dtype = bf16: some ranks use avx512_bf16, others "
              "avx2, which "
              "round products of bf16 differently; set SWITCHYARD_ISA=avx2 on all ranks");
    }
    for (const std::string& message : told(strict, {"avx512_bf16", "amx_bf16"}))
        CHECK_THAT(message, Catch::Contains("some ranks use amx_bf16, others avx512_bf16"));
    const std::vector<std::string> nothing(2);
    CHECK(told(strict, {"generic", "avx512"}) == nothing);
    CHECK(told(strict, {"avx512_bf16", "avx512_bf16"}) == nothing);
    CHECK(told(strict, {"amx_bf16", "amx_bf16"}) == nothing);
    const Config strict_f32 = config_of(NumericsMode::reproducible, DType::f32);
    for (const std::string& message : told(strict_f32, {"sm_80", "sm_90", "sm_90"}))
        CHECK(message ==
              "numerics.mode = reproducible: some ranks use sm_90, others sm_80, which compute "
              "exponentials differently; take GPUs of one kind");
    CHECK(told(strict, {"sm_90", "sm_90"}) == nothing);
    CHECK(told(config_of(NumericsMode::fast, DType::f32), {"sm_80", "sm_90"}) == nothing);
    CHECK(told(config_of(NumericsMode::fast, DType::bf16), {"avx512_bf16", "avx2"}) == nothing);
    CHECK(told(strict_f32, {"avx512_bf16", "avx2"}) == nothing);
}

TEST_CASE("isa bits: a run that resumes with other bits than its checkpoint says so", "[unit]") {
    const Config strict = config_of(NumericsMode::reproducible, DType::bf16);
    const std::vector<std::string> notes = isa_notes(strict, "avx2", "avx512_bf16");
    REQUIRE(notes.size() == 1);
    CHECK_THAT(notes[0], Catch::Contains("written under avx2, this run uses avx512_bf16"));
    CHECK(isa_notes(strict, "avx512_bf16", "avx512").size() == 1);
    CHECK(isa_notes(strict, "avx512_bf16", "amx_bf16").size() == 1);
    CHECK(isa_notes(strict, "amx_bf16", "avx512").size() == 1);
    CHECK(isa_notes(strict, "one of later versions", "amx_bf16").size() == 1);
    CHECK(isa_notes(strict, "avx512", "generic").empty());
    CHECK(isa_notes(strict, "amx_bf16", "amx_bf16").empty());
    CHECK(isa_notes(strict, "avx512_bf16", "avx512_bf16").empty());
    CHECK(isa_notes(strict, "", "avx512_bf16").empty());
    const Config strict_f32 = config_of(NumericsMode::reproducible, DType::f32);
    CHECK(isa_notes(strict_f32, "avx2", "avx512_bf16").empty());
    CHECK(isa_notes(strict_f32, "sm_80", "sm_90").size() == 1);
    CHECK(isa_notes(strict, "sm_90", "avx512_bf16").empty());
    CHECK(isa_notes(strict, "avx512_bf16", "sm_90").empty());
    CHECK(isa_notes(config_of(NumericsMode::fast, DType::bf16), "avx2", "avx512_bf16").empty());
}

TEST_CASE("isa bits: a manifest names the instruction set of its run", "[unit]") {
    Manifest manifest;
    manifest.isa = "avx512";
    CHECK(parse_manifest(write_manifest(manifest), "a manifest").isa == "avx512");
}
