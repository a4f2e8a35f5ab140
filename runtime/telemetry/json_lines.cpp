#include "runtime/telemetry/json_lines.hpp"

#include <cmath>

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

bool ends_inside_a_line(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary | std::ios::ate);
    if (!file || file.tellg() == std::streampos(0)) return false;
    file.seekg(-1, std::ios::end);
    return file.get() != '\n';
}

}  // namespace

JsonLines::JsonLines(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code error;
    if (path_.has_parent_path()) std::filesystem::create_directories(path_.parent_path(), error);
    if (error)
        throw IoError(concat("metrics: cannot create ", path_.parent_path().string(), ": ", error.message()));
    const bool unfinished = ends_inside_a_line(path_);
    file_.open(path_, std::ios::binary | std::ios::app);
    if (!file_) throw IoError(concat("metrics: cannot append to ", path_.string(), "; is it writable?"));
    if (unfinished) file_ << '\n' << std::flush;
}

void JsonLines::write(const Json& record) {
    Json clean = record;
    replace_non_finite(clean);
    file_ << clean.text() << '\n' << std::flush;
    if (!file_) throw IoError(concat("metrics: writing ", path_.string(), " failed; is the disk full?"));
}

}  // namespace sy::runtime
