#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/json/json.hpp"

namespace sy::runtime {

/// Reads parts of a tokenizer.json and collects what is wrong with them, so that all of it can be told at once. What is
/// read after a problem is some harmless value.
class PartReader {
  public:
    void problem(const std::string& text) { problems_.push_back(text); }
    /// @throws IoError with all problems, if any, each line beginning with `name`
    void finish(const std::string& name) const;

    /// A part with a name for messages, such as pre_tokenizer.pretokenizers[1].
    struct Part {
        const Json& value;
        std::string where;
    };

    /// A member, nothing where it is missing or null.
    std::optional<Part> member(const Part& part, std::string_view name);
    /// Each element of a member that must be an array; none where it is missing.
    std::vector<Part> elements(const Part& part, std::string_view name);
    /// What the part calls itself in "type"; empty after a problem.
    std::string type(const Part& part);
    std::string text(const Part& part, std::string_view name);
    bool flag(const Part& part, std::string_view name, bool otherwise);
    /// A whole number of at least 0 and at most `most`.
    std::int64_t whole(const Part& part, std::string_view name, std::int64_t most);
    /// Refuses members that are not among the known ones: they could change what the tokenizer does.
    void only(const Part& part, std::initializer_list<std::string_view> known);
    /// Refuses a member that holds anything but null, false, zero or an empty text.
    void unset(const Part& part, std::string_view name, std::string_view advice);

  private:
    std::vector<std::string> problems_;
};

}  // namespace sy::runtime
