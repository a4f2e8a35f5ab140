#pragma once

#include <string>

/// The settings that the data owns.
namespace sy::runtime {

/// Whether a run may go on from a checkpoint in another text than it was trained on.
enum class ChangedData { refuse, accept };

/// What a token sees of a window that holds several documents.
enum class Documents {
    joined,   ///< all that comes before it
    separate  ///< its own document alone
};

struct DataConfig {
    std::string path;                 ///< as parse_data_path takes it
    std::string tokenizer = "bytes";  ///< as make_tokenizer takes it
    Documents documents = Documents::joined;
    double validation_fraction = 0.05;
    ChangedData changed = ChangedData::refuse;
};

}  // namespace sy::runtime
