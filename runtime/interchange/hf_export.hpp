#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/interchange/storage.hpp"

namespace sy::runtime {

struct HfExport {
    std::string family;  ///< empty: the first that expresses the model
    Storage storage = Storage::f32;
    index_t shard_bytes = 5'000'000'000;  ///< most bytes of tensors in a file; a tensor is never split
    bool with_moments = false;            ///< also writes moments.safetensors (hf_moments.hpp)
};

struct HfExported {
    std::string architecture;
    index_t num_tensors = 0;
    index_t num_parameters = 0;
    index_t num_files = 0;
    std::vector<std::string> notes;
};

/// Writes a checkpoint as a folder that transformers opens: weights as safetensors, config.json, generation_config.json,
/// the byte tokenizer, and manifest.json with the SHA-256 of every tensor. Uses all cores; memory as
/// for_each_stored. The folder gets its name when everything in it has been flushed and read back.
/// @throws ConfigError with every setting that the class cannot express
/// @throws IoError when the folder exists, or a part of the checkpoint is missing, altered or not finite: then none is made
HfExported export_hf(const std::filesystem::path& checkpoint, const std::filesystem::path& folder,
                     const HfExport& options);

/// "5GB", "200MB", "4096": decimal units. @throws ConfigError for anything else
index_t parse_shard_size(const std::string& text);

}  // namespace sy::runtime
