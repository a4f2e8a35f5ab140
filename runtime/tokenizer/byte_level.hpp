#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace sy::runtime {

/// The printable characters that stand for bytes in vocabularies of byte-level BPE: a byte that is a printable character
/// of Latin-1 stands for itself, the other 68 follow from U+0100 on, in order.
/// @return  the character of each byte, as UTF-8
/// @par Source  GPT-2, `bytes_to_unicode` of its encoder
std::array<std::string, 256> byte_characters();

/// The bytes that a text of such characters stands for; nothing when it has another one.
class ByteCharacters {
  public:
    ByteCharacters();
    std::optional<std::string> bytes_of(std::string_view text) const;

  private:
    std::array<int, 0x144> byte_of_{};  ///< of each code point; -1: none
};

}  // namespace sy::runtime
