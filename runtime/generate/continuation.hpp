#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.hpp"

namespace sy::runtime {

/// The text that tokens behind a prompt come to, as they come one by one, up to the first stop string.
class Continuation {
  public:
    /// @param prompt  its tokens, on which the first text may depend (a leading space)
    /// @param stops   none of them empty
    Continuation(const Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                 const std::vector<std::string>& stops);

    /// @return whether the text has come to a stop string, before which it is cut
    bool add(std::int32_t id);
    /// All of it.
    const std::string& text() const { return text_; }
    /// Bytes at its beginning that no further token changes: whole characters, and nothing that may become a stop
    /// string.
    std::size_t num_settled() const;

  private:
    const Tokenizer& tokenizer_;
    const std::vector<std::string>& stops_;
    std::vector<std::int32_t> ids_;  ///< the prompt's last ones, then those added
    std::size_t prompt_bytes_;       ///< of the text of ids_, which are the prompt's
    std::string text_;
    bool stopped_ = false;
};

}  // namespace sy::runtime
