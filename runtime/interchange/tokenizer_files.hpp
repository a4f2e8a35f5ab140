#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/config/config.hpp"

/// A model's tokenizer as it travels with it: the files of a folder of transformers, copied as they are. An import puts
/// them beside the checkpoint, not into it, and data.tokenizer names them; an export copies them to where they came from.
namespace sy::runtime {

/// What becomes of the tokenizer on an import. Left out, data.tokenizer stays at bytes: the model's ids are for token files
/// that were made elsewhere.
enum class TokenizerImport { take_over, leave_out };

/// Whether a folder has a tokenizer other than the one that an export of a model on bytes writes.
bool has_own_tokenizer(const std::filesystem::path& folder);

/// Copies the files of a tokenizer, and generation_config.json beside them, into a folder that is there.
/// @param from  as data.tokenizer: a folder, or a tokenizer.json or tokenizer.model, whatever it is called
/// @param sentencepiece_file  what to call a file of SentencePiece; null: as in the folder
/// @return      the names of what was copied; empty when there is no tokenizer at `from`
/// @throws IoError when a file is no regular one, too large for a tokenizer, or cannot be copied
std::vector<std::string> copy_tokenizer_files(const std::filesystem::path& from,
                                              const std::filesystem::path& to,
                                              const char* sentencepiece_file = nullptr);

/// @throws ConfigError when data.tokenizer names another tokenizer than the model was trained with; a file that is not
///         there is none
void check_trained_tokenizer(const Config& config, const Manifest& manifest);

/// The copy that an import makes. It goes with this object unless keep() was called.
class ImportedTokenizer {
  public:
    /// There is no tokenizer.
    ImportedTokenizer() = default;
    /// @param fill  writes the files into a folder that is there
    /// @throws IoError when there is something of the name already
    ImportedTokenizer(const std::filesystem::path& new_checkpoint,
                      const std::function<void(const std::filesystem::path& folder)>& fill);
    ImportedTokenizer(ImportedTokenizer&& other) noexcept;
    ImportedTokenizer& operator=(ImportedTokenizer&&) = delete;
    ~ImportedTokenizer();
    ImportedTokenizer(const ImportedTokenizer&) = delete;
    ImportedTokenizer& operator=(const ImportedTokenizer&) = delete;

    /// For data.tokenizer: NEW_CHECKPOINT.tokenizer; nothing when nothing was copied.
    const std::optional<std::string>& setting() const { return setting_; }
    /// For people: where the tokenizer is, and why runs cannot use it where they cannot.
    std::vector<std::string> notes() const;
    void keep() { kept_ = true; }

  private:
    std::optional<std::string> setting_;
    bool kept_ = false;
};

/// The tokenizer of a folder, copied; none where has_own_tokenizer is false.
ImportedTokenizer import_tokenizer(const std::filesystem::path& folder,
                                   const std::filesystem::path& new_checkpoint);

}  // namespace sy::runtime
