#include "runtime/telemetry/json_lines.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

void replace_non_finite(Json& value) {
    if (value.is_object()) {
        for (Json::Member& member : value.as_object()) replace_non_finite(member.value);
    } else if (value.is_array()) {
        for (Json& element : value.as_array()) replace_non_finite(element);
    } else if (value.is_number() && !std::isfinite(value.as_number())) {
        value = nullptr;
    }
}

/// Whether the last byte of a file is something else than a line's end.
bool ends_inside_a_line(int descriptor) {
    char last = '\n';
    const off_t end = ::lseek(descriptor, 0, SEEK_END);
    return end > 0 && ::pread(descriptor, &last, 1, end - 1) == 1 && last != '\n';
}

}  // namespace

JsonLines::JsonLines(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code error;
    if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), error);
    if (error)
        throw IoError(concat("metrics: cannot create ", path_.parent_path().string(), ": ", error.message()));
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor_ < 0) {
        throw IoError(concat("metrics: cannot append to ", path_.string(), ": ", std::strerror(errno),
                             "; is it writable?"));
    }
    if (ends_inside_a_line(descriptor_)) append("\n");
}

JsonLines::~JsonLines() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

void JsonLines::write(const Json& record) {
    Json clean = record;
    replace_non_finite(clean);
    append(clean.text() + "\n");
}

void JsonLines::append(const std::string& line) const {
    const off_t before = ::lseek(descriptor_, 0, SEEK_END);
    for (std::size_t written = 0; written < line.size();) {
        const ssize_t count = ::write(descriptor_, line.data() + written, line.size() - written);
        if (count >= 0) {
            written += static_cast<std::size_t>(count);
            continue;
        }
        const int reason = errno;
        if (reason == EINTR) continue;
        // What fitted of the line goes again, so that readers find whole lines only.
        const bool taken_back = written == 0 || ::ftruncate(descriptor_, before) == 0;
        throw IoError(concat("metrics: writing ", path_.string(), " failed: ", std::strerror(reason),
                             taken_back ? "" : "; its last line is incomplete"));
    }
}

}  // namespace sy::runtime
