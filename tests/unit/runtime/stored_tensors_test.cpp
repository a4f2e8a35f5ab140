// Tensors that all cores make ahead of the one that writes them.
#include "runtime/interchange/stored_tensors.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <mutex>

#include "kernels/core/ordered_work.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/model_builder.hpp"
#include "runtime/interchange/sha256.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

constexpr index_t kNumTensors = 40;

std::string name_of(index_t idx) {
    return concat("tensor", idx);
}

/// A checkpoint of tensors of many sizes, made without a run, whose values name their tensor and place.
struct Example {
    test::TestFolder folder;
    std::filesystem::path path = folder / "checkpoint";
    ForeignModel model;

    /// @param bad  a tensor with a value of NaN
    explicit Example(index_t bad = -1) {
        Manifest manifest;
        for (index_t idx = 0; idx < kNumTensors; ++idx)
            manifest.shapes[name_of(idx)] = Shape{1 + idx * idx % 90, 3 + idx};
        const auto fill = [&](const ReshardPart& part, std::span<float> values) {
            const float number = std::stof(part.id.tensor.substr(6));
            for (std::size_t i = 0; i < values.size(); ++i)
                values[i] = number + static_cast<float>(i) / 16384.0F;
            if (bad >= 0 && part.id.tensor == name_of(bad)) values[0] = std::nanf("");
        };
        const ReshardPlan plan = plan_reshard(manifest.shapes, 2);
        ModelBuilder builder(manifest.shapes);
        for (const auto& [name, shape] : manifest.shapes) builder.transposed("their " + name, name);
        model = builder.take();
        write_checkpoint(path, {std::move(manifest), fill, [](const Manifest&) {}}, plan);
    }

    std::vector<TensorToStore> to_store() const {
        std::vector<TensorToStore> result;
        for (const ForeignTensor& tensor : model.tensors)
            result.push_back({&tensor, result.size() % 2 == 0 ? Storage::f32 : Storage::bf16});
        return result;
    }
};

}  // namespace

TEST_CASE("make ahead: results come in order, and no more are held than the limit says", "[unit]") {
    constexpr std::size_t kResults = 500;
    const auto bytes_of = [](std::size_t i) {
        return i == 200 ? index_t{5000} : static_cast<index_t>(i % 7);
    };
    const int num_threads = GENERATE(0, 1, 3);
    const AheadLimit limit{num_threads, 20};
    std::mutex mutex;
    index_t held_bytes = 0;
    index_t most_bytes = 0;
    std::size_t next = 0;
    const auto make = [&](std::size_t i) {
        const std::lock_guard lock(mutex);
        held_bytes += bytes_of(i);
        if (i < 200) most_bytes = std::max(most_bytes, held_bytes);
        return i * i;
    };
    const auto use = [&](std::size_t i, std::size_t result) {
        REQUIRE(i == next++);
        REQUIRE(result == i * i);
        const std::lock_guard lock(mutex);
        held_bytes -= bytes_of(i);
    };
    make_ahead<std::size_t>(kResults, limit, bytes_of, make, use);
    CHECK(next == kResults);
    CHECK(held_bytes == 0);
    CHECK(most_bytes >= 6);
    CHECK(most_bytes <= limit.bytes);
}

TEST_CASE("make ahead: the first failure in order is thrown, and what is made is ended before", "[unit]") {
    const int num_threads = GENERATE(0, 1, 3);
    std::size_t used = 0;
    const auto make = [](std::size_t i) {
        if (i == 17 || i == 19) throw IoError(concat("result ", i));
        return i;
    };
    const auto run = [&] {
        make_ahead<std::size_t>(
            100, {num_threads, 1000}, [](std::size_t) { return index_t{1}; }, make,
            [&](std::size_t, std::size_t) { ++used; });
    };
    CHECK_THROWS_WITH(run(), "result 17");
    CHECK(used == 17);
}

TEST_CASE("stored tensors: they come in order, each as if it were alone", "[unit]") {
    const Example example;
    const CheckpointReader reader(example.path);
    const std::vector<TensorToStore> wanted = example.to_store();
    std::size_t next = 0;
    for_each_stored(reader, wanted, [&](std::size_t idx, const StoredTensor& stored) {
        REQUIRE(idx == next++);
        const auto& [tensor, storage] = wanted[idx];
        std::vector<float> values(static_cast<std::size_t>(tensor->shape.num_elements()));
        read_foreign(*tensor, reader, values);
        std::vector<std::byte> bytes(
            static_cast<std::size_t>(storage_bytes(storage, tensor->shape.num_elements())));
        encode(storage, values, bytes);
        REQUIRE(std::ranges::equal(stored.bytes, bytes));
        Sha256 digest;
        digest.add(bytes);
        REQUIRE(stored.sha256 == digest.finish());
    });
    CHECK(next == wanted.size());
    for_each_stored(reader, {}, [&](std::size_t, const StoredTensor&) { FAIL("there is no tensor"); });
}

TEST_CASE("stored tensors: the first that cannot be stored is named, and what the writer throws is passed on",
          "[unit]") {
    const Example example;
    const CheckpointReader reader(example.path);
    std::vector<TensorToStore> wanted = example.to_store();
    ForeignTensor huge = *wanted[7].tensor;
    huge.name = "huge";
    huge.parts[0].factor = 1e30F;
    huge.parts[0].addend = 1e10F;
    wanted[7] = wanted[9] = {&huge, Storage::f16};
    std::size_t used = 0;
    const auto count = [&](std::size_t, const StoredTensor&) { ++used; };
    CHECK_THROWS_WITH(for_each_stored(reader, wanted, count),
                      Catch::StartsWith("export: huge: the value ") && Catch::Contains("as f16"));
    CHECK(used == 7);
    const auto full = [&](std::size_t idx, const StoredTensor&) {
        if (idx == 3) throw IoError("pwrite failed");
    };
    CHECK_THROWS_WITH(for_each_stored(reader, wanted, full), "pwrite failed");
    const Example diverged(11);
    const CheckpointReader bad(diverged.path);
    CHECK_THROWS_WITH(for_each_stored(bad, diverged.to_store(), count),
                      Catch::Contains("tensor11") && Catch::Contains("not finite"));
}
