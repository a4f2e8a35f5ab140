#pragma once

#include <filesystem>
#include <string>

#include "runtime/json/json.hpp"

namespace sy::runtime {

/// A file with one JSON object a line, each written by one call: whole or not at all. An existing file is continued, never
/// overwritten; a line that a killed run left unfinished is closed first, so that it cannot swallow the next record.
class JsonLines {
  public:
    /// Creates the folder if need be. @throws IoError when the file cannot be appended to
    explicit JsonLines(std::filesystem::path path);
    JsonLines(const JsonLines&) = delete;
    JsonLines& operator=(const JsonLines&) = delete;
    ~JsonLines();

    /// Appends one record. Numbers that are not finite, which JSON has no word for, become null.
    /// @throws IoError when writing fails; nothing of the record stays
    void write(const Json& record);

  private:
    void append(const std::string& line) const;

    std::filesystem::path path_;
    int descriptor_ = -1;
};

}  // namespace sy::runtime
