// Checkpoints compared, re-cut and described.
#include <catch2/catch.hpp>

#include <algorithm>
#include <limits>

#include "runtime/checkpoint/compare.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

/// Writes checkpoint `folder` again with the gate of an expert of layer 0 changed in one place.
void change_one_value(const fs::path& from, const fs::path& to, float value) {
    const CheckpointReader reader(from);
    reshard_checkpoint(from, to, plan_reshard(reader.manifest().shapes, 1));
    const std::string bytes = read_text(to / "shard-00000.h5");
    std::vector<float> rows(16 * 8);
    reader.read(Kind::weight, "layers.0.moe.experts.gate", 2, {0, 16}, 8, rows);
    const auto place = bytes.find(std::string(reinterpret_cast<const char*>(rows.data()), 4 * rows.size()));
    REQUIRE(place != std::string::npos);
    rows[77] = value;
    std::fstream file(to / "shard-00000.h5", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(place));
    file.write(reinterpret_cast<const char*>(rows.data()), static_cast<std::streamsize>(4 * rows.size()));
    Manifest manifest = read_manifest(to);
    for (PieceRecord& piece : manifest.pieces) {
        if (piece.id == MatrixId{Kind::weight, "layers.0.moe.experts.gate", 2})
            piece.checksum = row_checksum(rows, 8, 0);
    }
    std::ofstream(to / "manifest.json") << write_manifest(manifest);
}

std::string joined(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) text += line + "\n";
    return text;
}

}  // namespace

TEST_CASE("reshard: the plan assigns every row once, evenly, with its moments", "[unit]") {
    const std::map<std::string, Shape> shapes{{"a", {5}}, {"b", {4, 3}}, {"c", {2, 3, 2}}};
    const ReshardPlan plan = plan_reshard(shapes, 3);
    // 29 values: the shares begin at 0, 10 and 20; a row belongs to the share that holds its first value.
    REQUIRE(plan.files.size() == 3);
    const auto of = [&](std::size_t file, Kind kind) {
        std::vector<ReshardPart> parts;
        for (const ReshardPart& part : plan.files[file].parts) {
            if (part.id.kind == kind) parts.push_back(part);
        }
        return parts;
    };
    for (const Kind kind : kKinds) {
        CHECK(of(0, kind) ==
              std::vector<ReshardPart>{{{kind, "a", 0}, {0, 1}, 5}, {{kind, "b", 0}, {0, 2}, 3}});
        CHECK(of(1, kind) ==
              std::vector<ReshardPart>{{{kind, "b", 0}, {2, 4}, 3}, {{kind, "c", 0}, {0, 2}, 2}});
        CHECK(of(2, kind) ==
              std::vector<ReshardPart>{{{kind, "c", 0}, {2, 3}, 2}, {{kind, "c", 1}, {0, 3}, 2}});
    }
    CHECK(plan.to_string() ==
          "shard-00000.h5: 6 pieces, 33 values\nshard-00001.h5: 6 pieces, 30 values\n"
          "shard-00002.h5: 6 pieces, 24 values\n");
    CHECK(plan == plan_reshard(shapes, 3));
    CHECK(plan_reshard(shapes, 100).files.size() == 100);
}

TEST_CASE("reshard: from 3 ranks to 2 and back keeps every matrix, and the run resumes to the same bits",
          "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    const double uninterrupted = train_on(2, config, "");
    config.run.directory = (folder / "other").string();
    config.run.stop_after = 4;
    config.checkpoint.layout = GENERATE(CheckpointLayout::sharded, CheckpointLayout::single);
    train_on(3, config, "");
    const fs::path latest = folder / "other/checkpoints/latest";
    const std::map<std::string, Shape> shapes = read_manifest(latest).shapes;
    reshard_checkpoint(latest, folder / "two/", plan_reshard(shapes, 2));
    reshard_checkpoint(folder / "two", folder / "five", plan_reshard(shapes, 5));
    for (const char* name : {"two", "five"}) {
        CHECK(verify_checkpoint(folder / name).empty());
        CHECK(read_manifest(folder / name).matrix_checksums() == read_manifest(latest).matrix_checksums());
        CHECK(compare_checkpoints(latest, folder / name).empty());
    }
    CHECK(fs::exists(folder / "five/shard-00004.h5"));
    CHECK_FALSE(fs::exists(folder / ".unfinished-five"));
    config.run.stop_after = 0;
    CHECK(train_on(2, config, (folder / "five").string()) == uninterrupted);
}

TEST_CASE("reshard: refuses folders that exist and damaged checkpoints, and leaves nothing", "[unit]") {
    const TestFolder folder;
    const Config config = small_config(folder);
    train_on(2, config, "");
    const fs::path latest = folder / "run/checkpoints/latest";
    const ReshardPlan plan = plan_reshard(read_manifest(latest).shapes, 2);
    fs::create_directory(folder / "there");
    CHECK_THROWS_WITH(reshard_checkpoint(latest, folder / "there", plan),
                      Catch::Contains("exists already and is not overwritten"));
    CHECK_THROWS_WITH(reshard_checkpoint(latest, folder / "none/there", plan), Catch::Contains("no folder"));
    ReshardPlan partial = plan;
    partial.files.pop_back();
    CHECK_THROWS_WITH(reshard_checkpoint(latest, folder / "new", partial),
                      Catch::Contains("does not hold every row"));
    fs::resize_file(latest / "shard-00001.h5", 5000);
    CHECK_THROWS_WITH(reshard_checkpoint(latest, folder / "new", plan), Catch::Contains("shard-00001.h5"));
    CHECK_FALSE(fs::exists(folder / "new"));
    CHECK_FALSE(fs::exists(folder / ".unfinished-new"));
    CHECK(fs::is_empty(folder / "there"));
}

TEST_CASE(
    "new checkpoint: filled in turn or by threads, with moments that are zero or filled with zeros, it is "
    "the same",
    "[unit]") {
    const TestFolder folder;
    Manifest manifest;
    manifest.shapes = {{"a", {5}}, {"b", {1700, 300}}, {"c", {30, 40, 30}}, {"d", {2, 3000, 700}}};
    const auto fill = [&](const ReshardPart& part, std::span<float> values) {
        if (part.id.kind != Kind::weight) {
            std::ranges::fill(values, 0.0F);
            return;
        }
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] =
                static_cast<float>(100 * part.id.matrix + part.rows.begin) + static_cast<float>(i) / 4096.0F;
    };
    const ReshardPlan plan = plan_reshard(manifest.shapes, 3);
    const auto write = [&](const char* name, NewCheckpoint::Moments moments, NewCheckpoint::Filling filling) {
        write_checkpoint(folder / name,
                         {.manifest = manifest,
                          .fill = fill,
                          .check = [](const Manifest&) {},
                          .moments = moments,
                          .filling = filling},
                         plan);
    };
    write("filled", NewCheckpoint::Moments::filled, NewCheckpoint::Filling::in_turn);
    write("zero", NewCheckpoint::Moments::zero, NewCheckpoint::Filling::in_turn);
    write("threads", NewCheckpoint::Moments::zero, NewCheckpoint::Filling::in_threads);
    CHECK(verify_checkpoint(folder / "zero").empty());
    for (const char* const other : {"zero", "threads"}) {
        for (const char* const file :
             {"shard-00000.h5", "shard-00001.h5", "shard-00002.h5", "model.h5", "manifest.json"}) {
            INFO(other << " " << file);
            CHECK(read_text(folder / other / file) == read_text(folder / "filled" / file));
        }
    }
}

TEST_CASE("diff: says which settings, state and matrices differ, and by how much", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    train_on(2, config, "");
    const fs::path first = folder / "run/checkpoints/latest";
    CHECK(compare_checkpoints(first, first).empty());

    SECTION("one value") {
        float old[8];
        CheckpointReader(first).read(Kind::weight, "layers.0.moe.experts.gate", 2, {9, 10}, 8, old);
        change_one_value(first, folder / "changed", old[5] + 0.25F);
        CHECK(joined(compare_checkpoints(first, folder / "changed")) ==
              "weight layers.0.moe.experts.gate[2]: largest difference 0.25\n");
    }
    SECTION("a value that is no number") {
        change_one_value(first, folder / "changed", std::numeric_limits<float>::quiet_NaN());
        CHECK_THAT(joined(compare_checkpoints(first, folder / "changed")),
                   Catch::Contains("weight layers.0.moe.experts.gate[2]: largest difference nan") ||
                       Catch::Contains("weight layers.0.moe.experts.gate[2]: largest difference -nan"));
    }
    SECTION("step, settings and tensors") {
        config.run.directory = (folder / "other").string();
        config.train.steps = 3;
        config.moe.experts = 4;
        train_on(1, config, "");
        const std::string text = joined(compare_checkpoints(first, folder / "other/checkpoints/latest"));
        for (const char* line :
             {"step: 8 | 3\n", "state.samples_consumed: 48 | 18\n", "config moe.experts: 5 | 4\n",
              "config train.steps: 8 | 3\n", "tensor layers.0.moe.experts.up: [5, 16, 8] | [4, 16, 8]\n",
              "weight embedding.weight[0]: largest difference"}) {
            INFO(text);
            CHECK_THAT(text, Catch::Contains(line));
        }
        CHECK_THAT(text, !Catch::Contains("weight layers.0.moe.experts.up[0]"));
    }
}

TEST_CASE("inspect: everything about a checkpoint, in columns", "[unit]") {
    std::string tables[2];
    for (const CheckpointLayout layout : {CheckpointLayout::sharded, CheckpointLayout::single}) {
        const TestFolder folder;
        Config config = small_config(folder);
        config.checkpoint.layout = layout;
        train_on(layout == CheckpointLayout::sharded ? 3 : 1, config, "");
        const std::string text = describe_checkpoint(folder / "run/checkpoints/latest");
        INFO(text);
        for (const std::string& line :
             {std::string("step              8\n"), concat("layout            ", layout_name(layout), ", "),
              std::string("samples consumed  48\n"), std::string("philox4x32-10"),
              std::string("router state      none\n"), std::string("layers.0.moe.experts.gate")})
            CHECK_THAT(text, Catch::Contains(line));
        std::string& table = tables[layout == CheckpointLayout::sharded ? 0 : 1];
        table = text.substr(text.find("\ntensor") + 1);
        std::istringstream lines(table);
        std::string header;
        std::string line;
        std::getline(lines, header);
        int num_tensors = 0;
        for (; std::getline(lines, line); ++num_tensors) CHECK(line.size() == header.find("  v") + 2 + 16);
        CHECK(num_tensors > 10);
    }
    CHECK(tables[0] == tables[1]);
}
