// A manifest whose checksum is right, as someone who means harm would write it.
#include <xxhash.h>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/json/json.hpp"
#include "tests/fuzz/target.hpp"

using namespace sy;
using namespace sy::runtime;

std::vector<std::string> fuzz_seeds() {
    Manifest manifest;
    manifest.step = 3;
    manifest.config = "[model]\nhidden = 16\n";
    manifest.state.router["layers.0.bias"] = {0.5, -1.0};
    manifest.shapes["gate"] = {2, 3, 4};
    manifest.files = {{"shard-00000.h5", 4096, 1}, {kModelFile, 2048, 2}};
    for (const Kind kind : kKinds) {
        for (index_t matrix = 0; matrix < 2; ++matrix) {
            const MatrixId id{kind, "gate", matrix};
            manifest.pieces.push_back({id, {0, 3}, 4, "shard-00000.h5", shard_dataset(id, 0), 7});
        }
    }
    return {write_manifest(manifest), write_manifest({})};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    try {
        Json whole = Json::parse({reinterpret_cast<const char*>(data), size});
        const std::string body = whole.at("checkpoint").text();
        whole["xxh3"] = hex(XXH3_64bits(body.data(), body.size()));
        const Manifest manifest = parse_manifest(whole.text(), "manifest.json");
        coverage_problems(manifest);
        if (!manifest_problems(manifest).empty()) return 0;
        // What is accepted is written and read back as it was.
        const std::string text = write_manifest(manifest);
        SY_REQUIRE(write_manifest(parse_manifest(text, "again")) == text,
                   "the manifest changes when written");
    } catch (const IoError&) {
    }
    return 0;
}
