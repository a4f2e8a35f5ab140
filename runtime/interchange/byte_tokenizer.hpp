#pragma once

#include <string>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// tokenizer.json of a byte-level BPE without merges: the id of every byte is the byte.
std::string byte_tokenizer_json();
std::string byte_tokenizer_config_json(index_t max_length);

}  // namespace sy::runtime
