#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/tensor.hpp"
#include "runtime/checkpoint/config.hpp"

/// What a checkpoint folder says about itself. The format is described in runtime/checkpoint/README.md.
namespace sy::runtime {

std::string layout_name(CheckpointLayout layout);

enum class Kind { weight, m, v };
inline constexpr Kind kKinds[] = {Kind::weight, Kind::m, Kind::v};
std::string kind_name(Kind kind);

/// The file that shows or holds the whole model.
inline constexpr const char* kModelFile = "model.h5";

/// A matrix of a tensor: its index in the first of three dimensions, else 0. A [n] tensor is one row.
struct MatrixId {
    Kind kind = Kind::weight;
    std::string tensor;
    index_t matrix = 0;

    bool operator==(const MatrixId&) const = default;
    auto operator<=>(const MatrixId&) const = default;
    /// "weight layers.0.moe.experts.gate[3]"
    std::string to_string() const;
};

/// Number, rows and columns of a tensor's matrices.
struct MatrixShape {
    index_t matrices = 1;
    index_t rows = 1;
    index_t cols = 1;
};
MatrixShape matrix_shape(const Shape& shape);

/// "/weight/layers.0.moe.experts.gate": the tensor in model.h5.
std::string logical_name(Kind kind, const std::string& tensor);
/// "/weight/layers.0.moe.experts.gate/3:0": rows of a matrix, from the one given on, in a shard.
std::string shard_dataset(const MatrixId& id, index_t first_row);

/// Where rows of a matrix lie.
struct PieceRecord {
    MatrixId id;
    Range rows;
    index_t cols = 0;
    std::string file;
    std::string dataset;
    std::uint64_t checksum = 0;  ///< row_checksum of its rows
};

struct FileRecord {
    std::string name;
    index_t bytes = 0;
    std::uint64_t checksum = 0;  ///< file_checksum

    bool operator==(const FileRecord&) const = default;
};

/// The text that a run learns from, and how it is cut into samples.
struct DataRecord {
    std::string paths;                ///< as data.path names them
    std::vector<index_t> file_bytes;  ///< of each text, or of the text of each token file
    /// For texts the sum over blocks of 4 MiB of XXH3-64(block, seed = block number), for token files the sum of
    /// XXH3-64(checksum of the file, seed = number of the file).
    std::uint64_t checksum = 0;
    std::string tokenizer;  ///< its identity
    index_t window = 0;     ///< tokens of a sample
    double validation_fraction = 0.0;
    std::vector<index_t> weights = {};  ///< of each file, in lowest terms; empty where files are joined

    index_t num_bytes() const;
    /// "7:3", or "none".
    std::string weights_text() const;
    bool operator==(const DataRecord&) const = default;
};

/// What a run needs besides weights, moments and settings to go on as if it had not stopped. The same on every rank.
struct TrainingState {
    std::uint64_t seed = 0;
    /// The generator has no state of its own: seed and step decide every number it gives.
    std::string random = kRandom;
    index_t samples_consumed = 0;  ///< of training, over all ranks: where the data goes on
    index_t skipped_steps = 0;     ///< whose gradient was not finite, since step 1
    index_t skipped_in_a_row = 0;
    std::map<std::string, std::vector<double>>
        router;                      ///< state that routing strategies carry from step to step
    std::optional<DataRecord> data;  ///< nothing in checkpoints that do not say, or of no text yet

    static constexpr const char* kRandom = "philox4x32-10, counter based: keyed by seed and step";
    bool operator==(const TrainingState&) const = default;
    /// Counts a step of `samples` samples. @param applied  whether it changed the weights
    void count_step(index_t samples, bool applied);
};

struct Manifest {
    index_t step = 0;
    std::string config;      ///< resolved, in the form of a config file
    std::string written_on;  ///< topology and process grid
    std::string isa;  ///< instruction set of the run that wrote it; empty in checkpoints that do not say
    CheckpointLayout layout = CheckpointLayout::sharded;
    TrainingState state;
    std::map<std::string, Shape> shapes;
    std::vector<FileRecord> files;
    std::vector<PieceRecord> pieces;

    /// Sums of the pieces' checksums: they do not depend on the layout that wrote them.
    std::map<MatrixId, std::uint64_t> matrix_checksums() const;
    /// Adds the files, pieces and shapes of `part`. @throws IoError when a tensor has another shape there
    void add(const Manifest& part);
};

/// Sum mod 2^64 over rows of XXH3-64(row, seed = row number): the same however the rows are cut into pieces.
std::uint64_t row_checksum(std::span<const float> values, index_t cols, index_t first_row);

/// "0123456789abcdef", as checksums are written.
std::string hex(std::uint64_t value);

/// The manifest as text, and back. The text carries its own checksum.
std::string write_manifest(const Manifest& manifest);
/// @param name  what the text is called in messages @throws IoError naming what is wrong
Manifest parse_manifest(const std::string& text, const std::string& name);
/// The manifest of a checkpoint, which may come from someone else: only one without manifest_problems() is returned.
/// @throws IoError naming all that is wrong
Manifest read_manifest(const std::filesystem::path& folder);
/// Its text. @throws IoError when there is none that can be read
std::string read_manifest_text(const std::filesystem::path& folder);
/// The checksum of a manifest as hex, which tells one from another.
std::string manifest_checksum(const std::string& text);

/// What a manifest may not say: names that are not plain, tensors, pieces and sizes that do not fit each other, negative
/// counts. Once there is none, loops and allocations by it are bounded by the bytes of the files that it lists.
std::vector<std::string> manifest_problems(const Manifest& manifest);

/// Rows that are missing from or doubled among the pieces, by matrix; empty when each row is there once.
std::vector<std::string> coverage_problems(const Manifest& manifest);

}  // namespace sy::runtime
