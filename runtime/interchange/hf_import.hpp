#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "runtime/interchange/tokenizer_files.hpp"

namespace sy::runtime {

struct HfImported {
    std::string architecture;
    std::filesystem::path config_file;  ///< the settings, for --config
    std::vector<std::string> notes;
};

/// Makes a checkpoint of step 0 from a folder that transformers has written, and NEW.conf beside it with its settings.
/// Moments are zero. Every tensor of the folder is used once. Uses all processors; memory as write_checkpoint with
/// Filling::in_threads, and for each processor the rows of one of their tensors that a matrix of ours comes from.
/// @throws ConfigError with every key of config.json that cannot be expressed here, every tensor that is missing, unknown
///         or of another shape
/// @throws IoError when the checkpoint exists, a file is damaged or a value not finite: then none is made
HfImported import_hf(const std::filesystem::path& folder, const std::filesystem::path& new_checkpoint,
                     TokenizerImport tokenizer_import = TokenizerImport::take_over);

}  // namespace sy::runtime
