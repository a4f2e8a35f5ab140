#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/interchange/gguf/model.hpp"
#include "runtime/interchange/tokenizer_files.hpp"

/// Checkpoints as GGUF files and back. Neither needs MPI, the run's layout, or the memory of a whole model.
namespace sy::runtime {

struct GgufExport {
    Storage storage = Storage::f32;  ///< of matrices; vectors and routers stay float32
    std::string architecture = {};   ///< of llama.cpp; empty: the one that computes the model exactly
    index_t shard_bytes = 0;         ///< of data in a file, which is numbered then; 0: one file
};

struct GgufWritten {
    std::string architecture;
    std::vector<std::string> notes;  ///< what was left out or is otherwise there
    index_t num_files = 1;
};

/// Writes a file, or several that are numbered (gguf/split.hpp), under temporary names until all are whole, and
/// FILE.manifest.json beside them: where each tensor came from, and the SHA-256 of every tensor.
/// Uses all cores; memory as for_each_stored.
/// @throws ConfigError naming every setting that llama.cpp cannot express; IoError when the file exists, a piece of the
///         checkpoint is missing or altered, or a value cannot be stored: then there is none
GgufWritten export_gguf(const std::filesystem::path& checkpoint, const std::filesystem::path& file,
                        const GgufExport& options);

/// Reads a file, or the first of several. Writes a checkpoint of step 0, with no moments, and its settings as
/// NEW_CHECKPOINT.conf beside it. A tokenizer other than bytes goes to NEW_CHECKPOINT.tokenizer.
/// Uses all processors; memory as write_checkpoint with Filling::in_threads, and the rows of one of the file's tensors that
/// a matrix of ours comes from for each processor.
/// @return notes for people
/// @throws IoError or ConfigError with everything of the file that has no place here: then there is no checkpoint
std::vector<std::string> import_gguf(const std::filesystem::path& file,
                                     const std::filesystem::path& new_checkpoint,
                                     TokenizerImport tokenizer_import = TokenizerImport::take_over);

namespace gguf {

/// How each tensor of a model is stored: vectors, routers and what must stay float32 as such, all others as asked.
/// @throws ConfigError naming tensors whose rows no block of the storage fits
std::vector<Tensor> stored_tensors(const ForeignModel& model, Storage storage);

/// Tensors that the model wants and the file has not or has in another shape, or the other way round.
std::vector<std::string> tensor_problems(const ForeignModel& model, const Header& header);

}  // namespace gguf

}  // namespace sy::runtime
