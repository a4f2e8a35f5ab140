#pragma once

#include "kernels/core/error.hpp"

namespace sy::runtime {

/// A file that another program has locked, or whose file system has no locks. It says nothing of what the file holds, so
/// that nobody may call it damage.
class FileLockError : public IoError {
  public:
    using IoError::IoError;
};

/// Throws `error` again with `before` in front of its text; a lock stays one.
[[noreturn]] inline void throw_again(const IoError& error, const std::string& before) {
    const std::string text = before + error.what();
    if (dynamic_cast<const FileLockError*>(&error) != nullptr) throw FileLockError(text);
    throw IoError(text);
}

}  // namespace sy::runtime
