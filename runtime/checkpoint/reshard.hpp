#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"

namespace sy::runtime {

/// Rows of a matrix that go into one file.
struct ReshardPart {
    MatrixId id;
    Range rows;
    index_t cols = 0;
    bool operator==(const ReshardPart&) const = default;
};

/// Which rows go into which file of a new checkpoint.
struct ReshardPlan {
    struct File {
        std::string name;
        std::vector<ReshardPart> parts;
        index_t num_values() const;
        bool operator==(const File&) const = default;
    };
    std::vector<File> files;

    bool operator==(const ReshardPlan&) const = default;
    /// One line a file: "shard-00000.h5: 69 pieces, 24576 values".
    std::string to_string() const;
};

/// Distributes the rows of all tensors, by name and in order, over files that hold as many values as rows allow;
/// weights and moments of a row stand in the same file.
ReshardPlan plan_reshard(const std::map<std::string, Shape>& shapes, index_t num_files);

/// What a new checkpoint in a new folder holds.
struct NewCheckpoint {
    Manifest manifest;  ///< step, config, state and shapes; files and pieces are added
    /// Sets all values of a part.
    std::function<void(const ReshardPart&, std::span<float>)> fill;
    /// Throws when what was written, listed in the manifest, is not what was wanted.
    std::function<void(const Manifest&)> check;
    /// Whether fill is called for the moments of the optimizer too, or they are zero and take no room on the disk.
    enum class Moments { filled, zero };
    Moments moments = Moments::filled;
    /// in_turn: fill is called for one part after another. in_threads: for several at once, ahead of their writing.
    enum class Filling { in_turn, in_threads };
    Filling filling = Filling::in_turn;
};

/// Writes a new checkpoint. Holds one part in memory at a time; with Filling::in_threads 512 MiB of them, or one that is
/// larger.
/// @throws IoError when the folder exists, or what fill and check throw: then none is made
void write_checkpoint(const std::filesystem::path& new_folder, NewCheckpoint checkpoint,
                      const ReshardPlan& plan);

/// Writes the contents of checkpoint `from` into a new folder, as the plan says, with the same manifest state.
/// Holds pieces of the new checkpoint as write_checkpoint does with Filling::in_threads, and a piece of the old one for
/// each thread.
/// @throws IoError when the new folder exists, or a piece of `from` is missing or altered: then none is made
void reshard_checkpoint(const std::filesystem::path& from, const std::filesystem::path& new_folder,
                        const ReshardPlan& plan);

}  // namespace sy::runtime
