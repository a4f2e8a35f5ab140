// Writing a checkpoint's values, with all that makes it safe, against a plain write and fsync of as many bytes.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "comm/local/local_fabric.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"
#include "runtime/checkpoint/shard_file.hpp"
#include "runtime/checkpoint/single_file.hpp"

namespace sy::runtime::bench {
namespace {

namespace fs = std::filesystem;

constexpr index_t kMatrices = 8;
constexpr index_t kRows = 512;
constexpr index_t kCols = 2048;

/// A folder of its own in the run's, removed in the end.
struct Scratch {
    fs::path path;
    explicit Scratch(const fs::path& run) : path(run / concat(".bench-checkpoint-", ::getpid())) {
        fs::create_directories(path);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        std::error_code ignored;
        fs::remove_all(path, ignored);
    }
};

/// The peer: one call after the other, nothing checked but the calls themselves.
void write_plainly(const fs::path& path, std::span<const std::byte> bytes) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    bool good = file >= 0;
    while (good && !bytes.empty()) {
        const ssize_t count = ::write(file, bytes.data(), bytes.size());
        good = count > 0;
        if (good) bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    good = good && ::fsync(file) == 0;
    const int reason = errno;
    if (file >= 0 && ::close(file) != 0) good = false;
    if (!good) throw IoError(concat("bench: writing ", path.string(), " failed: ", std::strerror(reason)));
}

/// Largest difference between a dataset, read by HDF5, and what was to be written.
double largest_error(const fs::path& path, const std::string& dataset, std::vector<index_t> dims,
                     std::span<const float> expected) {
    std::vector<float> found(expected.size());
    const Region all{std::vector<index_t>(dims.size(), 0), dims};
    Hdf5File(path.string()).read(dataset, dims, all, found);
    double error = 0.0;
    for (std::size_t i = 0; i < found.size(); ++i)
        error = std::fmax(error, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
    return error;
}

}  // namespace

void checkpoint(const BenchOptions& options, Report& report) {
    const Shape shape{kMatrices, kRows, kCols};
    std::vector<float> values(static_cast<std::size_t>(shape.num_elements()));
    std::iota(values.begin(), values.end(), 1.0F);
    const std::size_t matrix = static_cast<std::size_t>(kRows * kCols);
    std::vector<Piece> pieces;
    for (index_t i = 0; i < kMatrices; ++i) {
        pieces.push_back({{Kind::weight, "values", i},
                          shape,
                          {0, kRows},
                          kCols,
                          std::span(values).subspan(static_cast<std::size_t>(i) * matrix, matrix)});
    }
    const Scratch scratch(options.config.run.directory);
    report.note(concat("files in ", options.config.run.directory,
                       "; --set run.directory=FOLDER measures another file system"));
    const fs::path plain = scratch.path / "plain";
    const fs::path shard = scratch.path / detail::shard_name(0);
    const fs::path single = scratch.path / kModelFile;
    std::uint64_t checksum = 0;
    std::uint64_t read_back = 0;
    const std::function<void()> bodies[] = {
        [&] {
            fs::remove(plain);
            write_plainly(plain, std::as_bytes(std::span(values)));
        },
        [&] {
            fs::remove(shard);
            const auto values_of = [&](std::size_t idx) { return detail::values_with_checksum(pieces[idx]); };
            checksum = detail::write_shard_file(scratch.path, detail::shard_name(0), pieces, values_of)
                           .files.front()
                           .checksum;
        },
        [&] {
            const detail::RegularFile file(shard);
            file.forget_cached();
            read_back = detail::file_checksum(file);
        },
        [&] {
            fs::remove(single);
            comm::LocalFabric(1).run([&](comm::Communicator& alone) {
                detail::write_single_file(scratch.path, pieces, 1, alone);
            });
        }};
    const std::vector<Times> times = time_in_turns(options, bodies);
    const double single_error = largest_error(single, "/weight/values", {kMatrices, kRows, kCols}, values);
    double shard_error = 0.0;
    for (const Piece& piece : pieces) {
        shard_error = std::fmax(
            shard_error, largest_error(shard, shard_dataset(piece.id, 0), {kRows, kCols}, piece.values));
    }
    const struct {
        const char* pass;
        double error;
    } rows[] = {{"plain write and fsync", 0.0},
                {"sharded", shard_error},
                {"of it, reading back", checksum == read_back ? 0.0 : 1.0},
                {"single", single_error}};
    const double bytes = static_cast<double>(values.size() * sizeof(float));
    for (std::size_t i = 0; i < std::size(rows); ++i) {
        BenchRow row;
        row.what = "checkpoint";
        row.shape = concat(values.size() * sizeof(float) >> 20, " MiB");
        row.dtype = "f32";
        row.mode = "fast";
        row.pass = rows[i].pass;
        row.threads = 1;
        row.times = times[i];
        row.rate = bytes / (1e3 * times[i].best_ms);
        row.share = times[0].best_ms / times[i].best_ms;
        row.error = rows[i].error;
        report.row(row);
    }
}

}  // namespace sy::runtime::bench
