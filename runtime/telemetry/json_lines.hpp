#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "runtime/json/json.hpp"

namespace sy::runtime {

/// A file with one JSON object a line. An existing file is continued, never overwritten; a line that a killed run left
/// unfinished is closed first, so that it cannot swallow the next record.
class JsonLines {
  public:
    /// Creates the folder if need be. @throws IoError when the file cannot be appended to
    explicit JsonLines(std::filesystem::path path);

    /// Appends and flushes one record. Numbers that are not finite, which JSON has no word for, become null.
    /// @throws IoError when writing fails
    void write(const Json& record);

  private:
    std::filesystem::path path_;
    std::ofstream file_;
};

}  // namespace sy::runtime
