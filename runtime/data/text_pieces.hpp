#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/data/text_file.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

/// Inputs of `data tokenize`, cut into pieces that can be tokenized on their own.
namespace sy::runtime {

enum class InputKind {
    text,       ///< one document
    json_lines  ///< a document a line
};

/// Where an input is cut.
struct TextPlace {
    index_t offset = 0;  ///< in bytes
    index_t line = 1;
};

struct TextPiece {
    std::string text;
    TextPlace begin;
    TextPlace end;
    bool is_last = false;  ///< of its input
};

/// A place in `text`, not at either end, at which it can be cut without changing its tokens; nothing when none is found.
/// Candidates are a line end between a word and a letter, then a blank between two letters, the last ones first. Each is
/// tried: the tokens of the 512 bytes on either side have to be the same together and apart. A tokenizer whose words
/// span such places, or that puts something before every text, so has none.
std::optional<std::size_t> find_cut(const Tokenizer& tokenizer, std::string_view text);

/// Goes through an input from a place on. Memory: a piece.
class PieceReader {
  public:
    /// @throws IoError as TextFile
    PieceReader(const std::string& path, InputKind kind, TextPlace place);

    /// The next piece, of about 1 MiB: whole lines of JSON lines, or text up to a place that find_cut found.
    /// @pre  not at_end()
    /// @throws IoError for a line of more than 256 MiB, and for 64 MiB of a longer text without a place to cut it
    TextPiece next(const Tokenizer& tokenizer);
    bool at_end() const { return place_.offset == file_.num_bytes(); }
    index_t num_bytes() const { return file_.num_bytes(); }

  private:
    /// Reads on until `text` has `size` bytes, or the file ends.
    void fill(std::string& text, index_t size) const;
    std::size_t end_of_lines(std::string& text) const;
    std::size_t end_of_text(std::string& text, const Tokenizer& tokenizer) const;

    std::string path_;
    InputKind kind_;
    TextFile file_;
    TextPlace place_;
};

}  // namespace sy::runtime
