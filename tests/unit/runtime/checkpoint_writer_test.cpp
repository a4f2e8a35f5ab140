// The writer alone, on a model of two tensors.
#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <functional>
#include <numeric>

#include "comm/collectives.hpp"
#include "comm/local/local_fabric.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"
#include "runtime/checkpoint/hdf5/file_layout.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/writer.hpp"
#include "tests/support/session.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::TestFolder;
using sy::test::TestSession;
namespace fs = std::filesystem;

namespace {

/// Counts down with every write to a file; at 0 the disk gets another last byte than the program gave it.
std::atomic<int> writes_before_damage = -1;

}  // namespace

/// In place of the C library's.
extern "C" ssize_t pwrite(int descriptor, const void* bytes, size_t count, off_t offset) {
    std::vector<char> written(static_cast<const char*>(bytes), static_cast<const char*>(bytes) + count);
    if (writes_before_damage-- == 0 && count > 0) written.back() = static_cast<char>(written.back() ^ 4);
    return ::syscall(SYS_pwrite64, descriptor, written.data(), count, offset);
}

namespace {

const Shape kShape{2, 3, 4};  ///< two matrices of 3 rows

/// What rank `rank` of 2 holds: its matrix of "experts", and on rank 0 all of "bias". Each value says where it is.
struct Part {
    std::vector<float> matrix = std::vector<float>(12);
    std::vector<float> bias = std::vector<float>(5);
    std::vector<Piece> pieces;

    explicit Part(int rank) {
        std::iota(matrix.begin(), matrix.end(), static_cast<float>(rank * 12));
        std::iota(bias.begin(), bias.end(), 100.0F);
        for (const Kind kind : kKinds) {
            const MatrixId of_rank{kind, "experts", rank};
            pieces.push_back({of_rank, kShape, {0, 3}, 4, matrix});
            const MatrixId of_first{kind, "bias", 0};
            if (rank == 0) pieces.push_back({of_first, Shape{5}, {0, 1}, 5, bias});
        }
    }
};

Manifest manifest_of_step(index_t step) {
    Manifest manifest;
    manifest.step = step;
    return manifest;
}

/// Runs body on two ranks, each with a writer.
void with_writers(const fs::path& run, const CheckpointConfig& form,
                  const std::function<void(CheckpointWriter&, Part&, comm::Communicator&)>& body) {
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        const TestSession session;
        CheckpointWriter writer({run, 2, form}, session.context, world);
        Part part(world.rank());
        body(writer, part, world);
    });
}

std::string io_error_of(const std::function<void()>& attempt) {
    try {
        attempt();
    } catch (const IoError& error) {
        return error.what();
    }
    return "nothing thrown";
}

constexpr CheckpointConfig kBackground{CheckpointLayout::sharded, true};

}  // namespace

TEST_CASE("writer: what is written is what was there at the start", "[unit]") {
    const TestFolder folder;
    const CheckpointConfig form{GENERATE(CheckpointLayout::sharded, CheckpointLayout::single),
                                GENERATE(false, true)};
    std::atomic<int> as_expected = 0;
    with_writers(folder.path(), form, [&](CheckpointWriter& writer, Part& part, comm::Communicator&) {
        as_expected += writer.under_way() ? 0 : 1;
        writer.start(part.pieces, manifest_of_step(1));
        as_expected += writer.under_way() ? 1 : 0;
        std::fill(part.matrix.begin(), part.matrix.end(), -1.0F);
        as_expected += writer.finish().step == 1 ? 1 : 0;
        as_expected += writer.under_way() ? 0 : 1;
    });
    CHECK(as_expected == 2 * 4);
    const CheckpointReader reader(folder / "checkpoints/latest");
    CHECK(verify_checkpoint(folder / "checkpoints/latest").empty());
    std::vector<float> values(8);
    reader.read(Kind::m, "experts", 1, {1, 3}, 4, values);
    CHECK(values == std::vector<float>{16, 17, 18, 19, 20, 21, 22, 23});
    CHECK(reader.plan({Kind::m, "experts", 1}, {1, 3}).size() == 1);
    CHECK_THROWS_WITH(reader.plan({Kind::m, "experts", 1}, {1, 4}),
                      Catch::Contains("m experts[1] rows 3 to 4 are missing"));
}

TEST_CASE("writer: until it is finished there is an unfinished folder alone", "[unit]") {
    const TestFolder folder;
    with_writers(folder.path(), kBackground,
                 [&](CheckpointWriter& writer, Part& part, comm::Communicator& world) {
                     writer.start(part.pieces, manifest_of_step(1));
                     writer.finish();
                     writer.start(part.pieces, manifest_of_step(2));
                     while (writer.busy()) std::this_thread::yield();
                     comm::barrier(world);
                 });
    CHECK(fs::read_symlink(folder / "checkpoints/latest") == "step-00000001");
    CHECK(find_checkpoint(folder.path(), "latest").filename() == "step-00000001");
    CHECK(fs::exists(folder / "checkpoints/.unfinished-step-00000002/shard-00001.h5"));
    CHECK_FALSE(fs::exists(folder / "checkpoints/step-00000002"));
}

TEST_CASE("writer: what fails in one rank's thread is thrown on every rank", "[unit]") {
    const TestFolder folder;
    std::string messages[2];
    with_writers(folder.path(), kBackground,
                 [&](CheckpointWriter& writer, Part& part, comm::Communicator& world) {
                     writer.start(part.pieces, manifest_of_step(1));
                     writer.finish();
                     // A dataset cannot be made twice.
                     if (world.rank() == 1) part.pieces.push_back(part.pieces[0]);
                     writer.start(part.pieces, manifest_of_step(2));
                     messages[world.rank()] = io_error_of([&] { writer.finish(); });
                     if (world.rank() == 1) part.pieces.pop_back();
                     writer.start(part.pieces, manifest_of_step(3));
                     writer.finish();
                 });
    for (const std::string& message : messages)
        CHECK_THAT(message, Catch::Contains("rank 1: H5Dcreate2 failed") &&
                                Catch::Contains("earlier checkpoints are untouched"));
    CHECK_FALSE(fs::exists(folder / "checkpoints/step-00000002"));
    CHECK(verify_checkpoint(folder / "checkpoints/step-00000001").empty());
    CHECK(verify_checkpoint(folder / "checkpoints/step-00000003").empty());
}

TEST_CASE("writer: whichever write the disk gets wrong, the checkpoint is read back and not published",
          "[unit]") {
    const CheckpointConfig form{GENERATE(CheckpointLayout::sharded, CheckpointLayout::single), false};
    int number = 0;
    for (bool reached = true; reached; ++number) {
        INFO("write " << number);
        const TestFolder folder;
        std::string messages[2];
        writes_before_damage = number;
        with_writers(folder.path(), form,
                     [&](CheckpointWriter& writer, Part& part, comm::Communicator& world) {
                         messages[world.rank()] = io_error_of([&] {
                             writer.start(part.pieces, manifest_of_step(1));
                             writer.finish();
                         });
                     });
        reached = writes_before_damage.exchange(-1) < 0;
        for (const std::string& message : messages)
            CHECK_THAT(message, Catch::Contains(reached ? "back from the disk" : "nothing thrown"));
        CHECK(fs::exists(folder / "checkpoints/latest") != reached);
        CHECK(fs::exists(folder / "checkpoints/step-00000001") != reached);
    }
    // Each shard, what shows them, and the manifest; or HDF5's own bytes, each piece, and the manifest.
    CHECK(number > 4);
}

TEST_CASE("writer: parts that do not make a whole model are not published", "[unit]") {
    const TestFolder folder;
    const CheckpointConfig form{GENERATE(CheckpointLayout::sharded, CheckpointLayout::single), true};
    std::string messages[2];
    with_writers(folder.path(), form, [&](CheckpointWriter& writer, Part& part, comm::Communicator& world) {
        if (world.rank() == 1) part.pieces.pop_back();
        writer.start(part.pieces, manifest_of_step(1));
        messages[world.rank()] = io_error_of([&] { writer.finish(); });
    });
    for (const std::string& message : messages)
        CHECK_THAT(message, Catch::Contains("v experts[1]: rows 0 to 3 are missing"));
    CHECK_FALSE(fs::exists(folder / "checkpoints/step-00000001"));
    CHECK_FALSE(fs::exists(folder / "checkpoints/latest"));
}

TEST_CASE("writer: the snapshot is counted in the arena, and kept for the next checkpoint", "[unit]") {
    const TestFolder folder;
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        const TestSession session;
        CheckpointWriter writer({folder.path(), 2, kBackground}, session.context, world);
        Part part(0);
        part.pieces.clear();
        std::vector<float> large(100000, 1.0F);
        for (const Kind kind : kKinds) {
            const MatrixId id{kind, "large", 0};
            part.pieces.push_back({id, Shape{1000, 100}, {0, 1000}, 100, large});
        }
        writer.start(part.pieces, manifest_of_step(1));
        const index_t used = session.device.arena().used_bytes();
        CHECK(used >= 3 * 100000 * 4);
        writer.finish();
        writer.start(part.pieces, manifest_of_step(2));
        CHECK(session.device.arena().used_bytes() == used);
        writer.finish();
    });
}

TEST_CASE("writer: files of several blocks of checksums hold each value at its place", "[unit]") {
    const TestFolder folder;
    const CheckpointConfig form{GENERATE(CheckpointLayout::sharded, CheckpointLayout::single), false};
    constexpr index_t kRows = 700;  // of 8 KiB: 5.5 MiB a rank and kind
    constexpr index_t kCols = 2048;
    with_writers(folder.path(), form, [&](CheckpointWriter& writer, Part& part, comm::Communicator& world) {
        std::vector<float> values(static_cast<std::size_t>(kRows * kCols));
        std::iota(values.begin(), values.end(), static_cast<float>(world.rank() * kRows * kCols));
        for (const Kind kind : kKinds) {
            const Range rows{world.rank() * kRows, (world.rank() + 1) * kRows};
            part.pieces.push_back({{kind, "large", 0}, Shape{2 * kRows, kCols}, rows, kCols, values});
        }
        writer.start(part.pieces, manifest_of_step(1));
        writer.finish();
    });
    CHECK(verify_checkpoint(folder / "checkpoints/latest").empty());
    const CheckpointReader reader(folder / "checkpoints/latest");
    std::vector<float> row(static_cast<std::size_t>(kCols));
    for (const index_t row_idx : {index_t{0}, kRows - 1, kRows, 2 * kRows - 1}) {
        reader.read(Kind::v, "large", 0, {row_idx, row_idx + 1}, kCols, row);
        CHECK(row[5] == static_cast<float>(row_idx * kCols + 5));
    }
}

TEST_CASE("file layout: sections cover the file, and values put at their places are those that HDF5 reads",
          "[unit]") {
    const TestFolder folder;
    const fs::path path = folder / "values.h5";
    FileLayout layout(path.string());
    const std::map<std::string, index_t> rows_of{{"/a", 3}, {"/b/c", 1}, {"/b/d", 3000}, {"/empty", 0}};
    for (const auto& [name, rows] : rows_of) {
        const index_t dims[] = {rows, 5};
        const FileLayout::Attribute attribute{"rows", std::span(&rows, 1)};
        layout.add_dataset(name, dims, std::span(&attribute, 1));
    }
    const auto value = [](const std::string& name, index_t i) {
        return static_cast<float>(name.size() * 100000) + static_cast<float>(i);
    };
    std::size_t datasets = 0;
    index_t end = 0;
    runtime::detail::NewFile file(path);
    for (const FileSection& section : layout.finish()) {
        CHECK(section.offset == end);
        end += section.bytes;
        if (section.dataset.empty()) {
            CHECK(static_cast<index_t>(section.description.size()) == section.bytes);
            file.append(section.description);
            continue;
        }
        ++datasets;
        CHECK(section.bytes == rows_of.at(section.dataset) * 20);
        std::vector<float> values;
        for (index_t i = 0; i < section.bytes / 4; ++i) values.push_back(value(section.dataset, i));
        file.append(std::as_bytes(std::span(values)));
    }
    CHECK(datasets == 3);
    CHECK(file.finish().bytes == end);
    const Hdf5File written(path.string());
    for (const auto& [name, rows] : rows_of) {
        const std::vector<index_t> dims{rows, 5};
        std::vector<float> values(static_cast<std::size_t>(rows * 5));
        if (rows > 0) written.read(name, dims, {{0, 0}, dims}, values);
        for (std::size_t i = 0; i < values.size(); ++i)
            CHECK(values[i] == value(name, static_cast<index_t>(i)));
        written.check_plain(name);
    }
}

TEST_CASE("file layout: values of any size take no memory until they are written", "[unit]") {
    FileLayout layout("huge.h5");
    constexpr index_t kRows = index_t{1} << 20;
    for (const auto& [name, cols] : std::map<std::string, index_t>{
             {"/a", index_t{1} << 16}, {"/b", 1}, {"/c", 3 * (index_t{1} << 12)}}) {
        const index_t dims[] = {kRows, cols};
        const FileLayout::Attribute attribute{"cols", std::span(&cols, 1)};
        layout.add_dataset(name, dims, std::span(&attribute, 1));
    }
    index_t end = 0;
    index_t described = 0;
    for (const FileSection& section : layout.finish()) {
        CHECK(section.offset == end);
        end += section.bytes;
        described += static_cast<index_t>(section.description.size());
    }
    CHECK(end - described == (index_t{1} << 38) + (index_t{1} << 22) + 3 * (index_t{1} << 34));
    CHECK(described < 20000);
}

TEST_CASE("output file: what is there is not overwritten, and messages name call and path", "[unit]") {
    const TestFolder folder;
    runtime::detail::write_text(folder / "there", "first");
    CHECK_THROWS_WITH(runtime::detail::write_text(folder / "there", "second"),
                      Catch::Contains("open of") && Catch::Contains("there failed: File exists"));
    CHECK_THROWS_WITH(runtime::detail::write_text(folder / "none/file", "text"),
                      Catch::Contains("none/file failed: No such file"));
    CHECK(runtime::detail::read_regular_text(folder / "there", 100) == "first");
}

TEST_CASE("new file: long stretches of zeros take no room on the disk, and read back as zeros", "[unit]") {
    const TestFolder folder;
    const auto ends_in_zeros = GENERATE(true, false);
    const std::filesystem::path path = folder / "zeros";
    std::string text(static_cast<std::size_t>(3 * runtime::detail::kBlockBytes), '\0');
    text[text.size() / 2] = 'x';
    if (!ends_in_zeros) text += "end";
    runtime::detail::NewFile file(path);
    for (std::size_t i = 0; i < text.size(); i += 1'000'003)
        file.append(
            std::as_bytes(std::span(text).subspan(i, std::min<std::size_t>(1'000'003, text.size() - i))));
    const FileRecord record = file.finish();
    CHECK(record.bytes == static_cast<index_t>(text.size()));
    CHECK(record.checksum == runtime::detail::file_checksum(runtime::detail::RegularFile(path)));
    CHECK(test::read_text(path) == text);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    // File systems have holes, and those of the tests' machines do.
    CHECK(status.st_blocks * 512 < runtime::detail::kBlockBytes / 4);
}

namespace {

/// Bytes that are no zeros, and differ from block to block.
std::vector<std::byte> some_bytes(index_t count, index_t seed) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(1 + (i + static_cast<std::size_t>(seed)) % 251);
    return bytes;
}

/// So many blocks that a thread reads some of them back while others are written.
constexpr index_t kManyBlocks = 40;

}  // namespace

TEST_CASE("new file: a large one is read back as it is written, values and zeros", "[unit]") {
    const TestFolder folder;
    const std::filesystem::path path = folder / "large";
    const index_t last_bytes = GENERATE(0, 12345);
    runtime::detail::NewFile file(path);
    std::vector<std::byte> expected;
    const auto append = [&](index_t count) {
        const std::vector<std::byte> bytes = some_bytes(count, std::ssize(expected));
        file.append(bytes);
        expected.insert(expected.end(), bytes.begin(), bytes.end());
    };
    const auto append_zeros = [&](index_t count) {
        file.append_zeros(count);
        expected.resize(expected.size() + static_cast<std::size_t>(count));
    };
    const index_t block = runtime::detail::kBlockBytes;
    append(kManyBlocks * block / 2 + 1000);
    append_zeros(3 * block / 2);
    append(10);
    append_zeros(kManyBlocks * block / 2);
    append(last_bytes);
    const FileRecord record = file.finish();
    CHECK(record.bytes == std::ssize(expected));
    CHECK(record.checksum == runtime::detail::file_checksum(runtime::detail::RegularFile(path)));
    const std::string found = test::read_text(path);
    CHECK(std::ranges::equal(std::as_bytes(std::span(found)), expected));
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK(status.st_blocks * 512 < (kManyBlocks / 2 + 3) * block);
}

TEST_CASE("new file: what the disk holds otherwise is found by the thread that reads back", "[unit]") {
    const TestFolder folder;
    const std::filesystem::path path = folder / "altered";
    const index_t block = runtime::detail::kBlockBytes;
    runtime::detail::NewFile file(path);
    // Too few to be read back: what is altered now is found in the end, or by the thread.
    file.append(some_bytes(block, 0));
    file.append_zeros(block);
    const auto write = [&](index_t offset, const char* text) {
        runtime::detail::OutputFile other(path, runtime::detail::OutputFile::Mode::shared);
        other.write(offset, std::as_bytes(std::span(text, 1)));
        other.close();
    };
    SECTION("values") {
        write(block / 2, "x");
    }
    SECTION("zeros") {
        write(3 * block / 2, "x");
    }
    SECTION("values that became a hole") {
        std::filesystem::resize_file(path, 0);
    }
    const auto write_the_rest = [&] {
        for (index_t i = 0; i < kManyBlocks; ++i) file.append(some_bytes(block, i));
        file.finish();
    };
    CHECK_THROWS_WITH(write_the_rest(), Catch::Contains("altered reads back from the disk with other bytes"));
}

TEST_CASE("fail_on_all_ranks: one rank's failure is everyone's; work is done when it returns", "[unit]") {
    std::string messages[2];
    std::atomic<int> done = 0;
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        runtime::detail::fail_on_all_ranks(world, "counting failed", [&] { ++done; });
        if (done != 2) done = 100;
        messages[world.rank()] = io_error_of([&] {
            runtime::detail::fail_on_all_ranks(world, "counting failed", [&] {
                if (world.rank() == 1) throw IoError("no more fingers");
            });
        });
    });
    CHECK(done == 2);
    for (const std::string& message : messages)
        CHECK(message == "counting failed:\n  rank 1: no more fingers");
}

TEST_CASE("model.h5: the whole model under logical names, wherever the folder is", "[unit]") {
    const TestFolder folder;
    const CheckpointConfig form{GENERATE(CheckpointLayout::sharded, CheckpointLayout::single), true};
    with_writers(folder.path(), form, [](CheckpointWriter& writer, Part& part, comm::Communicator&) {
        writer.start(part.pieces, manifest_of_step(1));
        writer.finish();
    });
    fs::rename(folder / "checkpoints/step-00000001", folder / "moved");
    std::vector<float> values(24);
    const std::vector<index_t> dims{2, 3, 4};
    const auto read = [&] {
        const Hdf5File file((folder / "moved/model.h5").string());
        file.read("/v/experts", dims, {{0, 0, 0}, dims}, values);
    };
    read();
    for (std::size_t i = 0; i < values.size(); ++i) CHECK(values[i] == static_cast<float>(i));
    std::vector<float> bias(5);
    Hdf5File((folder / "moved/model.h5").string())
        .read("/weight/bias", std::vector<index_t>{5}, {{0}, {5}}, bias);
    CHECK(bias == std::vector<float>{100, 101, 102, 103, 104});
    if (form.layout == CheckpointLayout::single) return;
    fs::remove(folder / "moved/shard-00001.h5");
    read();
    CHECK(values[11] == 11.0F);
    CHECK(std::isnan(values[12]));
}
