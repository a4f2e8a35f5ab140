#pragma once

#include <array>
#include <string>

/// The settings that the data owns.
namespace sy::runtime {

/// Names that make_tokenizer knows.
inline constexpr std::array kTokenizerNames{"bytes"};

/// Whether a run may go on from a checkpoint in another text than it was trained on.
enum class ChangedData { refuse, accept };

struct DataConfig {
    std::string path;  ///< one file, or several joined by commas
    std::string tokenizer = kTokenizerNames.front();
    double validation_fraction = 0.05;
    ChangedData changed = ChangedData::refuse;
};

}  // namespace sy::runtime
