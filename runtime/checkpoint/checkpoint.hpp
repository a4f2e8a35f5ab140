#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/tensor.hpp"
#include "runtime/checkpoint/manifest.hpp"

/// Checkpoints: a folder step-00000200 of HDF5 files and a manifest that names every file, piece and checksum. Written
/// under a temporary name, flushed, renamed; `latest` moves last. Written by CheckpointWriter in writer.hpp.
namespace sy::runtime {

class Hdf5File;
struct VirtualPart;

/// Rows of one matrix that a rank contributes. Over all ranks every row is contributed exactly once.
struct Piece {
    MatrixId id;
    Shape shape;  ///< of the tensor: [n], [rows, cols] or [E, rows, cols]
    Range rows;
    index_t cols = 0;
    std::span<const float> values;
};

/// A path as it is; or, when it is the link `latest` of a run's checkpoints, or ought to be, the checkpoint that it means.
/// @throws IoError when the link is missing or wrong, naming the newest whole checkpoint
std::filesystem::path follow_latest(const std::filesystem::path& path);

/// The folder that "latest" (of the run) or a path means. @throws IoError saying where it looked
std::filesystem::path find_checkpoint(const std::filesystem::path& run, const std::string& which);

/// Rows of a matrix that one piece holds. @see CheckpointReader::plan
struct ReadPart {
    std::size_t piece_idx = 0;  ///< in the manifest
    Range rows;
    bool operator==(const ReadPart&) const = default;
};

/// Reads any rows of any matrix, whatever layout and number of ranks wrote them. Holds one piece in memory at a time, and
/// none where the rows to read are a whole piece. Several threads may read at once.
class CheckpointReader {
  public:
    /// @throws IoError when the manifest or a file that it lists is not what it should be
    explicit CheckpointReader(const std::filesystem::path& folder);
    /// Checks a file when it is opened, and not before. @param manifest  has no manifest_problems()
    CheckpointReader(const std::filesystem::path& folder, Manifest manifest);
    ~CheckpointReader();
    const Manifest& manifest() const { return manifest_; }

    /// Which pieces hold the rows, in order. @throws IoError naming rows that are missing or there twice
    std::vector<ReadPart> plan(const MatrixId& id, Range rows) const;

    /// @param values  [rows, cols] receives the rows
    /// @throws IoError naming a missing, doubled or altered part
    void read(Kind kind, const std::string& tensor, index_t matrix, Range rows, index_t cols,
              std::span<float> values) const;

    /// One whole piece. @throws IoError when its file is missing or unreadable, or a value was altered
    void read_piece(const PieceRecord& piece, std::span<float> values) const;
    std::vector<float> read_piece(const PieceRecord& piece) const;

    /// That model.h5 over shards shows `parts` as this tensor, and nothing else. @throws IoError saying what differs
    void check_model_file(Kind kind, const std::string& tensor, std::span<const VirtualPart> parts) const;

    /// That a listed file holds the datasets of the manifest, and nothing else. @throws IoError with the other names
    void check_names(const std::string& file) const;

  private:
    /// @pre  hdf5_ is held
    const Hdf5File& open(const std::string& file) const;

    std::filesystem::path folder_;
    Manifest manifest_;
    std::map<MatrixId, std::vector<std::size_t>> pieces_of_;  ///< by first row
    // HDF5 serves one thread at a time.
    mutable std::mutex hdf5_;
    // The file read last: consecutive pieces mostly share one.
    mutable std::string open_name_;
    mutable std::unique_ptr<Hdf5File> open_file_;
};

/// Checks every file, piece and matrix, and that every value is finite. @return all problems, empty when the checkpoint is whole
/// @throws FileLockError when a file cannot be looked at
std::vector<std::string> verify_checkpoint(const std::filesystem::path& folder);

}  // namespace sy::runtime
