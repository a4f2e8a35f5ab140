// A checkpoint that someone else made: nothing outside its folder is read, and work is bounded by its files.
#include <catch2/catch.hpp>

#include <hdf5.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <limits>

#include "comm/local/local_fabric.hpp"
#include "runtime/checkpoint/agree.hpp"
#include "runtime/checkpoint/compare.hpp"
#include "runtime/checkpoint/hdf5/file_lock.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/json/json.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using namespace sy::test;
namespace fs = std::filesystem;

namespace {

/// The error that every file lock fails with; 0: none.
int locks_fail_with = 0;

}  // namespace

/// In place of the C library's, for HDF5 too.
extern "C" int flock(int descriptor, int operation) noexcept {
    if (locks_fail_with == 0) return static_cast<int>(::syscall(SYS_flock, descriptor, operation));
    errno = locks_fail_with;
    return -1;
}

namespace {

/// A whole checkpoint of one tensor, made without a run.
struct Example {
    TestFolder folder;
    fs::path path = folder / "checkpoint";

    explicit Example(float value = 1.0F) {
        Manifest manifest;
        manifest.shapes["gate"] = Shape{2, 3, 4};
        const auto fill = [&](const ReshardPart&, std::span<float> values) {
            std::fill(values.begin(), values.end(), value);
        };
        const ReshardPlan plan = plan_reshard(manifest.shapes, 1);
        write_checkpoint(path, {std::move(manifest), fill, [](const Manifest&) {}}, plan);
    }
    fs::path shard() const { return path / "shard-00000.h5"; }
    void rewrite(const std::function<void(Manifest&)>& change) const {
        Manifest manifest = read_manifest(path);
        change(manifest);
        std::ofstream(path / "manifest.json") << write_manifest(manifest);
    }
    /// After a change of files: their sizes are listed anew.
    void list_again() const {
        rewrite([&](Manifest& manifest) {
            for (FileRecord& file : manifest.files)
                file.bytes = static_cast<index_t>(fs::file_size(path / file.name));
        });
    }
    std::string problems() const {
        std::string text;
        for (const std::string& problem : verify_checkpoint(path)) text += problem + "\n";
        return text;
    }
};

struct Mutation {
    const char* expected;
    std::function<void(Manifest&)> change;
};

const std::vector<Mutation>& mutations() {
    static const std::vector<Mutation> table{
        {"no files are listed", [](Manifest& m) { m.files.clear(); }},
        {"no tensors are listed",
         [](Manifest& m) {
             m.shapes.clear();
             m.pieces.clear();
         }},
        {"'../../etc/passwd' is not the plain name",
         [](Manifest& m) { m.files[0].name = "../../etc/passwd"; }},
        {"'/dev/zero' is not the plain name", [](Manifest& m) { m.files[0].name = "/dev/zero"; }},
        {"'..' is not the plain name", [](Manifest& m) { m.files[0].name = ".."; }},
        {"'' is not the plain name", [](Manifest& m) { m.files[0].name = ""; }},
        {"is not the plain name", [](Manifest& m) { m.files[0].name = std::string("a\0b", 3); }},
        {"is listed twice", [](Manifest& m) { m.files.push_back(m.files[0]); }},
        {"bytes", [](Manifest& m) { m.files[0].bytes = -1; }},
        {"the shape []", [](Manifest& m) { m.shapes["gate"] = Shape{}; }},
        {"the shape [0]", [](Manifest& m) { m.shapes["gate"] = Shape{0}; }},
        {"the shape [1, 1, 1, 1]",
         [](Manifest& m) {
             m.shapes["gate"] = Shape{1, 1, 1, 1};
         }},
        {"the tensors need",
         [](Manifest& m) {
             m.shapes["more"] = Shape{index_t{1} << 40, 1, 1};
         }},
        {"no such tensor is listed", [](Manifest& m) { m.pieces[0].id.tensor = "up"; }},
        {"no tensor has such a matrix", [](Manifest& m) { m.pieces[0].id.matrix = -1; }},
        {"do not lie within its 3 rows",
         [](Manifest& m) {
             m.pieces[0].rows = {0, 4};
         }},
        {"do not lie within its 3 rows",
         [](Manifest& m) {
             m.pieces[0].rows = {2, 1};
         }},
        {"do not lie within its 3 rows",
         [](Manifest& m) {
             m.pieces[0].rows = {std::numeric_limits<index_t>::min(), 3};
         }},
        {"has 5 columns, 4 were expected", [](Manifest& m) { m.pieces[0].cols = 5; }},
        {"is not listed", [](Manifest& m) { m.pieces[0].file = "../shard-00000.h5"; }},
        {"does not put it in", [](Manifest& m) { m.pieces[0].file = "model.h5"; }},
        {"lies in the dataset '/other'", [](Manifest& m) { m.pieces[0].dataset = "/other"; }},
        {"step is -3, which is negative", [](Manifest& m) { m.step = -3; }},
        {"step is 9223372036854775807, which no run reaches",
         [](Manifest& m) { m.step = std::numeric_limits<index_t>::max(); }},
        {"samples_consumed is 9223372036854775807, which no run reaches",
         [](Manifest& m) { m.state.samples_consumed = std::numeric_limits<index_t>::max(); }},
        {"bytes, which no file has",
         [](Manifest& m) {
             for (FileRecord& file : m.files) file.bytes = index_t{1} << 62;
         }},
        {"skipped_steps is -1, which is negative", [](Manifest& m) { m.state.skipped_steps = -1; }},
        {"a file of the text has -5 bytes",
         [](Manifest& m) {
             m.state.data.emplace().file_bytes = {7, -5};
         }},
        {"a file of the text has 9223372036854775807 bytes",
         [](Manifest& m) {
             m.state.data.emplace().file_bytes = {1, std::numeric_limits<index_t>::max()};
         }},
        {"the text has 1 files and 2 weights",
         [](Manifest& m) {
             m.state.data.emplace().file_bytes = {7};
             m.state.data->weights = {1, 1};
         }},
        {"a file of the text has the weight -3",
         [](Manifest& m) {
             m.state.data.emplace().file_bytes = {7};
             m.state.data->weights = {-3};
         }},
    };
    return table;
}

}  // namespace

TEST_CASE("untrusted checkpoint: a manifest that misleads is refused by every reader", "[unit]") {
    const Example example;
    REQUIRE(example.problems().empty());
    const Manifest good = read_manifest(example.path);
    for (const Mutation& mutation : mutations()) {
        Manifest bad = good;
        mutation.change(bad);
        std::ofstream(example.path / "manifest.json") << write_manifest(bad);
        INFO(mutation.expected);
        CHECK_THAT(example.problems(), Catch::Contains(mutation.expected));
        CHECK_THROWS_AS(CheckpointReader(example.path), IoError);
        CHECK_THROWS_AS(describe_checkpoint(example.path), IoError);
    }
}

TEST_CASE("untrusted checkpoint: coverage of a claimed 2^40 matrices is found without counting them",
          "[unit]") {
    Manifest manifest;
    manifest.shapes["gate"] = Shape{index_t{1} << 40, 1, 1};
    CHECK_THAT(coverage_problems(manifest).at(0), Catch::Contains("gate[0] and the 1099511627775 matrices"));
}

TEST_CASE("untrusted checkpoint: links, pipes and devices are not opened", "[unit]") {
    const Example example;
    const std::string name = GENERATE("shard-00000.h5", "model.h5", "manifest.json");
    const fs::path file = example.path / name;
    const fs::path outside = example.folder / "outside";
    SECTION("a link") {
        fs::rename(file, outside);
        fs::create_symlink(outside, file);
        CHECK_THAT(example.problems(), Catch::Contains(name + " is a link"));
    }
    SECTION("a pipe") {
        fs::remove(file);
        REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
        CHECK_THAT(example.problems(), Catch::Contains(name + " is no regular file"));
    }
    SECTION("a folder") {
        fs::remove(file);
        fs::create_directory(file);
        CHECK_THAT(example.problems(), Catch::Contains(name + " is no regular file"));
    }
    CHECK_THROWS_AS(CheckpointReader(example.path), IoError);
}

TEST_CASE("untrusted checkpoint: datasets that are not plain values in their file are refused", "[unit]") {
    const Example example;
    const std::string dataset = "/weight/gate/0:0";
    const hid_t file = H5Fopen(example.shard().c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    REQUIRE(file >= 0);
    const hsize_t dims[] = {3, 4};
    const hid_t space = H5Screate_simple(2, dims, nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    std::string expected;
    hid_t type = H5T_IEEE_F32LE;
    bool linked = false;
    REQUIRE(H5Ldelete(file, dataset.c_str(), H5P_DEFAULT) >= 0);
    SECTION("chunked and compressed") {
        H5Pset_chunk(creation, 2, dims);
        H5Pset_deflate(creation, 1);
        expected = "is chunked, compact or virtual";
    }
    SECTION("virtual, of itself") {
        H5Pset_virtual(creation, space, ".", dataset.c_str(), space);
        expected = "is chunked, compact or virtual";
    }
    SECTION("stored in another file") {
        H5Pset_external(creation, "/etc/passwd", 0, 48);
        expected = "keeps its values in another file";
    }
    SECTION("big-endian") {
        type = H5T_IEEE_F32BE;
        expected = "has another type";
    }
    SECTION("a soft link to itself") {
        REQUIRE(H5Lcreate_soft(dataset.c_str(), file, dataset.c_str(), H5P_DEFAULT, H5P_DEFAULT) >= 0);
        linked = true;
        expected = "is a soft or external link";
    }
    SECTION("an external link") {
        REQUIRE(H5Lcreate_external("/etc/passwd", "/", file, dataset.c_str(), H5P_DEFAULT, H5P_DEFAULT) >= 0);
        linked = true;
        expected = "is a soft or external link";
    }
    if (!linked) {
        const hid_t made = H5Dcreate2(file, dataset.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
        REQUIRE(made >= 0);
        H5Dclose(made);
    }
    H5Pclose(creation);
    H5Sclose(space);
    REQUIRE(H5Fclose(file) >= 0);
    example.list_again();
    CHECK_THAT(example.problems(), Catch::Contains(dataset) && Catch::Contains(expected));
}

TEST_CASE("untrusted checkpoint: values that are not finite are named", "[unit]") {
    const float value =
        GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity());
    const Example example(value);
    CHECK_THAT(example.problems(),
               Catch::Contains("weight gate[0] rows 0 to 3 in shard-00000.h5 hold NaN or infinity"));
}

TEST_CASE("untrusted checkpoint: a router's state that is not finite is named", "[unit]") {
    const Example example;
    example.rewrite([](Manifest& manifest) {
        manifest.state.router["layers.0.moe"] = {0.5, std::numeric_limits<double>::quiet_NaN()};
    });
    CHECK_THAT(example.problems(), Catch::Contains("router state layers.0.moe holds NaN or infinity"));
}

TEST_CASE("untrusted checkpoint: what is printed of a manifest has no control characters", "[unit]") {
    const Example example;
    fs::copy(example.path, example.folder / "copy");
    const std::string clear_screen = "\x1b[2J";
    example.rewrite([&](Manifest& manifest) {
        manifest.written_on = manifest.isa = manifest.state.random = clear_screen;
        manifest.state.router[clear_screen] = {0.5};
        manifest.config = "[model]\nnorm = " + clear_screen + "\n" + clear_screen + " = 3\n";
        DataRecord& data = manifest.state.data.emplace();
        data.paths = data.tokenizer = clear_screen;
    });
    std::string printed = describe_checkpoint(example.path);
    for (const std::string& line : compare_checkpoints(example.path, example.folder / "copy"))
        printed += line + "\n";
    CHECK(printed.find("\\x1b[2J") != std::string::npos);
    CHECK(printed.find('\x1b') == std::string::npos);
}

TEST_CASE("untrusted checkpoint: diff reads the values that it calls the same", "[unit]") {
    const Example example;
    fs::copy(example.path, example.folder / "copy");
    CHECK(compare_checkpoints(example.path, example.folder / "copy").empty());
    std::string bytes = read_text(example.shard());
    const float ones[] = {1.0F, 1.0F, 1.0F};
    const auto place = bytes.find(std::string(reinterpret_cast<const char*>(ones), sizeof ones));
    REQUIRE(place != std::string::npos);
    bytes[place] ^= 1;
    std::ofstream(example.folder / "copy/shard-00000.h5", std::ios::binary) << bytes;
    CHECK_THROWS_WITH(compare_checkpoints(example.path, example.folder / "copy"),
                      Catch::Contains("were altered"));
}

namespace {

/// What verify_checkpoint says of a file that cannot be locked.
std::string lock_problem(const Example& example) {
    try {
        verify_checkpoint(example.path);
    } catch (const FileLockError& error) {
        return error.what();
    }
    return "no lock was met";
}

}  // namespace

TEST_CASE("checkpoint: of a locked file HDF5's error stack comes first, the guess at its cause last",
          "[unit]") {
    const Example example;
    const int descriptor = ::open(example.shard().c_str(), O_RDONLY | O_CLOEXEC);
    REQUIRE(::flock(descriptor, LOCK_EX) == 0);
    const std::string problem = lock_problem(example);
    ::close(descriptor);
    const auto failed_first = problem.find("unable to lock file");
    const auto called = problem.find("(H5Fopen)");
    const auto guess = problem.find("; perhaps another program has the file locked");
    CHECK(failed_first < called);
    CHECK(called < guess);
    CHECK(guess < problem.find("HDF5_USE_FILE_LOCKING"));
    CHECK(example.problems().empty());
}

TEST_CASE("checkpoint: a file system without locks is named as that", "[unit]") {
    const Example example;
    locks_fail_with = ENOLCK;
    const std::string problem = lock_problem(example);
    locks_fail_with = 0;
    CHECK_THAT(problem, Catch::Contains("No locks available") && Catch::Contains("HDF5_USE_FILE_LOCKING"));
    CHECK(example.problems().empty());
}

TEST_CASE("checkpoint: a lock that a rank meets is a lock on all ranks, and no damage", "[unit]") {
    const Example example;
    comm::LocalFabric(2).run([&](comm::Communicator& world) {
        const auto read = [&](bool damaged) {
            with_advice_on_damage(world, example.path, [&] {
                runtime::detail::fail_on_all_ranks(world, "reading", [&] {
                    if (world.rank() == 1) throw FileLockError("locked");
                    if (damaged) throw IoError("altered");
                });
            });
        };
        const auto text_of = [&](bool damaged) -> std::string {
            try {
                read(damaged);
            } catch (const FileLockError& error) {
                return concat("lock: ", error.what());
            } catch (const IoError& error) {
                return error.what();
            }
            return "";
        };
        SY_REQUIRE(text_of(false) == "lock: reading:\n  rank 1: locked", "of a lock: ", text_of(false));
        SY_REQUIRE(text_of(true).find("is damaged") != std::string::npos, "of damage: ", text_of(true));
    });
}

TEST_CASE("checkpoint: damage in a tensor whose name has a lock in it is not called a lock", "[unit]") {
    const Example example;
    CHECK_THROWS_WITH(Hdf5File(example.shard().string()).check_plain("/weight/block"),
                      Catch::Contains("(H5Lget_info)") && !Catch::Contains("HDF5_USE_FILE_LOCKING"));
}

TEST_CASE("untrusted checkpoint: names that the manifest does not list are found", "[unit]") {
    const Example example;
    const std::string listed = GENERATE("shard-00000.h5", "model.h5");
    const fs::path path = example.path / listed;
    const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    REQUIRE(file >= 0);
    const auto add = GENERATE(
        +[](hid_t to) { return H5Gcreate2(to, "/weight-2", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) >= 0; },
        +[](hid_t to) { return H5Lcreate_soft("/nowhere", to, "/weight/up", H5P_DEFAULT, H5P_DEFAULT) >= 0; },
        +[](hid_t to) {
            return H5Lcreate_external("/etc/passwd", "/", to, "/m/up", H5P_DEFAULT, H5P_DEFAULT) >= 0;
        },
        // A circle of groups.
        +[](hid_t to) { return H5Lcreate_hard(to, "/", to, "/weight/up", H5P_DEFAULT, H5P_DEFAULT) >= 0; });
    REQUIRE(add(file));
    H5Fclose(file);
    example.list_again();
    CHECK_THAT(example.problems(),
               Catch::Contains(listed + " holds /") && Catch::Contains("which the manifest does not list"));
}

TEST_CASE("untrusted checkpoint: checksums of matrices that are not the sums of their pieces'", "[unit]") {
    const Example example;
    Json whole = Json::parse(read_text(example.path / "manifest.json"));
    whole["checkpoint"]["matrix_checksums"]["weight gate[1]"] = "0000000000000001";
    const auto refusal = [&] {
        std::ofstream(example.path / "manifest.json") << whole.text();
        return example.problems();
    };
    // The message gives the checksum that the changed text should carry.
    const std::string message = refusal();
    const std::string before = "its checksum is ";
    REQUIRE(message.find(before) != std::string::npos);
    whole["xxh3"] = message.substr(message.find(before) + before.size(), 16);
    CHECK_THAT(refusal(), Catch::Contains("that of weight gate[1] is not the sum of its pieces'"));
}

TEST_CASE("untrusted checkpoint: a model.h5 that shows other values than the shards is found", "[unit]") {
    const Example example;
    const fs::path model = example.path / "model.h5";
    const std::string name = "/weight/gate";
    const std::string other = GENERATE("/m/gate/0:0", "/weight/gate/1:0");
    const hid_t file = H5Fopen(model.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    REQUIRE(file >= 0);
    REQUIRE(H5Ldelete(file, name.c_str(), H5P_DEFAULT) >= 0);
    const hsize_t dims[] = {2, 3, 4};
    const hsize_t piece[] = {3, 4};
    const hsize_t count[] = {1, 3, 4};
    const hid_t space = H5Screate_simple(3, dims, nullptr);
    const hid_t source = H5Screate_simple(2, piece, nullptr);
    const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    for (const hsize_t matrix : {0U, 1U}) {
        const hsize_t start[] = {matrix, 0, 0};
        H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr);
        const std::string shown = matrix == 0 ? other : "/weight/gate/1:0";
        REQUIRE(H5Pset_virtual(creation, space, "shard-00000.h5", shown.c_str(), source) >= 0);
    }
    H5Sselect_all(space);
    const hid_t made =
        H5Dcreate2(file, name.c_str(), H5T_IEEE_F32LE, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    REQUIRE(made >= 0);
    H5Dclose(made);
    H5Pclose(creation);
    H5Sclose(source);
    H5Sclose(space);
    REQUIRE(H5Fclose(file) >= 0);
    example.rewrite([&](Manifest& manifest) {
        for (FileRecord& record : manifest.files) {
            if (record.name == "model.h5") record.bytes = static_cast<index_t>(fs::file_size(model));
        }
    });
    CHECK_THAT(example.problems(), Catch::Contains("/weight/gate shows other values"));
}
