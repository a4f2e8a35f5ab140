#pragma once

#include <string>

/// The settings that the data owns.
namespace sy::runtime {

/// Whether a run may go on from a checkpoint in another text than it was trained on.
enum class ChangedData { refuse, accept };

struct DataConfig {
    std::string path;                 ///< one file, or several joined by commas
    std::string tokenizer = "bytes";  ///< as make_tokenizer takes it
    double validation_fraction = 0.05;
    ChangedData changed = ChangedData::refuse;
};

}  // namespace sy::runtime
