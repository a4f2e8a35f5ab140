// Every damage to a checkpoint of either layout is found and named, and nothing is overwritten.
#include <catch2/catch.hpp>

#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

std::string all_problems(const fs::path& folder) {
    std::string text;
    for (const std::string& problem : verify_checkpoint(folder)) text += problem + "\n";
    return text;
}

/// A run on 2 ranks and the file of its checkpoint that holds expert 0.
struct Damage {
    TestFolder folder;
    Config config = small_config(folder);
    fs::path latest = folder / "run/checkpoints/latest";
    std::string file;

    explicit Damage(CheckpointLayout layout) {
        config.checkpoint.layout = layout;
        train_on(2, config, "");
        file = layout == CheckpointLayout::sharded ? "shard-00000.h5" : "model.h5";
        REQUIRE(all_problems(latest).empty());
    }
    std::string problems() const { return all_problems(latest); }
    /// What a run that wants to go on says.
    std::string refusal() const {
        Config more = config;
        more.train.steps = 9;
        try {
            train_on(1, more, "latest");
        } catch (const Error& error) {
            return error.what();
        }
        return "went on";
    }
    void flip_bit_of_first_gate() const {
        // The values stand in the file as they do in memory.
        std::vector<float> row(8);
        CheckpointReader(latest).read(Kind::weight, "layers.0.moe.experts.gate", 0, {0, 1}, 8, row);
        const std::string bytes = read_text(latest / file);
        const auto place = bytes.find(std::string(reinterpret_cast<const char*>(row.data()), 32));
        REQUIRE(place != std::string::npos);
        std::fstream stream(latest / file, std::ios::in | std::ios::out | std::ios::binary);
        stream.seekp(static_cast<std::streamoff>(place));
        stream.put(static_cast<char>(bytes[place] ^ 1));
    }
    void rewrite(const Manifest& manifest) const {
        std::ofstream(latest / "manifest.json") << write_manifest(manifest);
    }
};

}  // namespace

TEST_CASE("checkpoint: damage is found and named, and nothing is overwritten", "[unit]") {
    const Damage damage(GENERATE(CheckpointLayout::sharded, CheckpointLayout::single));
    const auto contains = [](const std::string& part) { return Catch::Contains(part); };

    SECTION("one bit of a weight") {
        damage.flip_bit_of_first_gate();
        CHECK_THAT(damage.problems(), contains(damage.file + " was altered"));
        CHECK_THAT(damage.problems(), contains("weight layers.0.moe.experts.gate[0] rows 0 to 16 in " +
                                               damage.file + " were altered"));
        CHECK_THAT(damage.refusal(), contains("layers.0.moe.experts.gate[0]"));
    }
    SECTION("a file cut short") {
        fs::resize_file(damage.latest / damage.file, fs::file_size(damage.latest / damage.file) / 2);
        CHECK_THAT(damage.problems(), contains(damage.file + " has"));
        CHECK_THAT(damage.problems(), contains("weight layers.0.moe.experts.gate[0]"));
        CHECK_THAT(damage.refusal(), contains(damage.file));
    }
    SECTION("a file missing") {
        fs::remove(damage.latest / damage.file);
        CHECK_THAT(damage.problems(), contains(damage.file + ": it is missing"));
        CHECK_THAT(damage.refusal(), contains(damage.file + ": it is missing"));
    }
    SECTION("an expert missing, and one doubled") {
        Manifest manifest = read_manifest(damage.latest);
        std::erase_if(manifest.pieces, [](const PieceRecord& piece) {
            return piece.id.tensor == "layers.1.moe.experts.up" && piece.id.matrix == 3;
        });
        for (const PieceRecord& piece : std::vector<PieceRecord>(manifest.pieces)) {
            if (piece.id.tensor == "layers.1.moe.experts.down" && piece.id.matrix == 1)
                manifest.pieces.push_back(piece);
        }
        damage.rewrite(manifest);
        const std::string text = damage.problems();
        CHECK_THAT(text, contains("weight layers.1.moe.experts.up[3]: rows 0 to 16 are missing"));
        CHECK_THAT(text, contains("weight layers.1.moe.experts.down[1]: rows 0 to 8 are there twice"));
        CHECK_THAT(damage.refusal(), contains("layers.1.moe.experts"));
    }
    SECTION("a piece of a matrix that the model does not have") {
        Manifest manifest = read_manifest(damage.latest);
        manifest.pieces.front().id.matrix = 77;
        damage.rewrite(manifest);
        CHECK_THAT(damage.problems(), contains("[77]: no tensor has such a matrix"));
    }
    SECTION("a changed manifest") {
        std::fstream file(damage.latest / "manifest.json", std::ios::in | std::ios::out);
        file.seekp(40);
        file.put('7');
        file.close();
        CHECK_THAT(damage.problems(), contains("manifest.json is damaged"));
    }
    SECTION("the checkpoint of another model") {
        Config other = damage.config;
        other.moe.experts = 6;
        CHECK_THROWS_WITH(
            train_on(2, other, "latest"),
            contains("moe.experts = 6, but the checkpoint is of a model with 5; set moe.experts = 5"));
        // What the settings do not tell, the shapes do.
        Manifest manifest = read_manifest(damage.latest);
        manifest.config = dump(other);
        damage.rewrite(manifest);
        CHECK_THROWS_WITH(
            train_on(2, other, "latest"),
            contains("layers.0.moe.experts.gate is [5, 16, 8] there and [6, 16, 8] in this model"));
    }
    SECTION("a run from step 1 in the same folder") {
        CHECK_THROWS_WITH(train_on(2, damage.config, ""), contains("holds checkpoints of an earlier run"));
        CHECK(damage.problems().empty());
    }
}

TEST_CASE("checkpoint: an altered or missing model.h5 over shards is found", "[unit]") {
    const Damage damage(CheckpointLayout::sharded);
    const fs::path model = damage.latest / "model.h5";
    SECTION("cut short") {
        fs::resize_file(model, fs::file_size(model) - 1);
        CHECK_THAT(damage.problems(), Catch::Contains("model.h5 has"));
    }
    SECTION("missing") {
        fs::remove(model);
        CHECK_THAT(damage.problems(), Catch::Contains("model.h5: it is missing"));
    }
}
