#pragma once

#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace sy {

/// Builds a message from streamable parts.
template <class... Parts>
std::string concat(const Parts&... parts) {
    std::ostringstream stream;
    (stream << ... << parts);
    return stream.str();
}

/// Root of everything this program throws. The text says what was attempted, with which values, and what to try.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A tensor, view or count that does not fit its use.
class ShapeError : public Error {
  public:
    using Error::Error;
};

/// A broken invariant of the program itself.
class LogicError : public Error {
  public:
    using Error::Error;
};

/// A file or data set that cannot be read or written, or whose contents contradict each other.
class IoError : public Error {
  public:
    using Error::Error;
};

/// A communication call that failed.
class CommError : public Error {
  public:
    using Error::Error;
};

/// A wait whose deadline passed; the text names what and whom it waited for. Exit code 3.
class TimeoutError : public CommError {
  public:
    using CommError::CommError;
};

/// A wrong setting or wrong usage: all problems at once. Exit code 2.
class ConfigError : public Error {
  public:
    explicit ConfigError(const std::string& problem) : ConfigError(std::vector<std::string>{problem}) {}
    explicit ConfigError(std::vector<std::string> problems)
        : Error(join(problems)), problems_(std::move(problems)) {}
    const std::vector<std::string>& problems() const { return problems_; }

  private:
    static std::string join(const std::vector<std::string>& problems) {
        std::string text;
        for (const std::string& problem : problems) text += (text.empty() ? "" : "\n") + problem;
        return text;
    }
    std::vector<std::string> problems_;
};

namespace detail {
[[noreturn]] void fail_check(const char* condition, const char* file, int line, const std::string& message);
}

}  // namespace sy

/// Invariant that is always checked: SY_REQUIRE(rows == plan.rows(), "combine: ", rows, " rows for a plan of ", n).
#define SY_REQUIRE(condition, ...)                                                               \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            ::sy::detail::fail_check(#condition, __FILE__, __LINE__, ::sy::concat(__VA_ARGS__)); \
        }                                                                                        \
    } while (false)

/// Invariant in a hot loop: checked in debug and sanitizer builds only; never contains work.
#ifdef NDEBUG
#define SY_ASSERT(condition, ...) static_cast<void>(0)
#else
#define SY_ASSERT(condition, ...) SY_REQUIRE(condition, __VA_ARGS__)
#endif
