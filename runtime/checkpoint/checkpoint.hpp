#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/tensor.hpp"

/// Checkpoints: a folder step-00000200 with one HDF5 file a rank and a manifest that names every file, piece and
/// checksum. Written under a temporary name, flushed, renamed; `latest` moves last.
namespace sy::runtime {

enum class Kind { weight, m, v };
std::string kind_name(Kind kind);

/// Rows of one matrix that a rank contributes. Over all ranks every row is contributed exactly once.
struct Piece {
    Kind kind = Kind::weight;
    std::string tensor;
    Shape shape;         ///< global: [n], [rows, cols] or [E, rows, cols]
    index_t matrix = 0;  ///< index in the first of three dimensions, else 0
    Range rows;          ///< a [n] tensor is one row
    index_t cols = 0;
    std::span<const float> values;
};

/// Where a piece lies.
struct PieceRecord {
    Kind kind;
    std::string tensor;
    index_t matrix;
    Range rows;
    index_t cols;
    std::string file;
    std::string dataset;
    std::uint64_t checksum;  ///< row_checksum of its rows
};

struct FileRecord {
    std::string name;
    index_t bytes;
    std::uint64_t checksum;  ///< XXH3-64 of the file
};

struct Manifest {
    index_t step = 0;
    std::string config;  ///< resolved, in the form of a config file
    std::string layout;
    std::map<std::string, Shape> shapes;
    std::vector<FileRecord> files;
    std::vector<PieceRecord> pieces;

    /// Sums of the pieces' checksums by "kind tensor[matrix]": they do not depend on the layout that wrote them.
    std::map<std::string, std::uint64_t> matrix_checksums() const;
};

/// Sum mod 2^64 over rows of XXH3-64(row, seed = row number): the same however the rows are cut into pieces.
std::uint64_t row_checksum(std::span<const float> values, index_t cols, index_t first_row);

/// The manifest as text, and back. The text carries its own checksum. @throws IoError naming what is wrong
std::string write_manifest(const Manifest& manifest);
Manifest read_manifest(const std::filesystem::path& folder);

/// Writes run/checkpoints/step-N and moves `latest` to it, then removes all but `keep_last`.
/// @return the folder
/// @throws IoError on every rank when any rank fails; earlier checkpoints stay as they are
/// @par Collective over `world`
std::filesystem::path save_checkpoint(const std::filesystem::path& run, const std::vector<Piece>& pieces,
                                      Manifest manifest, index_t keep_last, comm::Communicator& world);

/// The folder that "latest" (the newest whole checkpoint of the run) or a path means. @throws IoError saying where it looked
std::filesystem::path find_checkpoint(const std::filesystem::path& run, const std::string& which);

/// Reads any rows of any matrix, whatever layout wrote them.
class CheckpointReader {
  public:
    explicit CheckpointReader(const std::filesystem::path& folder)
        : folder_(folder), manifest_(read_manifest(folder)) {}
    const Manifest& manifest() const { return manifest_; }
    /// @param values  [rows, cols] receives the rows
    /// @throws IoError naming a missing, doubled or altered part
    void read(Kind kind, const std::string& tensor, index_t matrix, Range rows, index_t cols,
              std::span<float> values) const;

  private:
    std::filesystem::path folder_;
    Manifest manifest_;
};

/// Checks every file, piece and matrix. @return all problems, empty when the checkpoint is whole
std::vector<std::string> verify_checkpoint(const std::filesystem::path& folder);

}  // namespace sy::runtime
