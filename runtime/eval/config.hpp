#pragma once

#include <string>

#include "kernels/core/types.hpp"

/// The settings that evaluation over a text owns.
namespace sy::runtime {

/// How a text is cut into windows, and which tokens of these are scored.
enum class EvalMethod { windows, llama_cpp, sliding };

struct EvalConfig {
    std::string text;  ///< a file; empty: the validation loss of data.path
    EvalMethod method = EvalMethod::windows;
    index_t context = 0;  ///< tokens of a window; 0: model.seq_len
    index_t stride = 0;   ///< of sliding windows; 0: half a window
};

}  // namespace sy::runtime
