#pragma once

#include <array>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// The printable stand-in that GPT-2 and its successors have for each byte, in UTF-8.
/// @par Source  bytes_to_unicode of Radford et al. 2019's encoder.py
std::array<std::string, 256> byte_stand_ins();

/// tokenizer.json of a byte-level BPE without merges: the id of every byte is the byte.
std::string byte_tokenizer_json();
std::string byte_tokenizer_config_json(index_t max_length);

}  // namespace sy::runtime
