#include "runtime/telemetry/json_lines.hpp"

#include <boost/json.hpp>
#include <cmath>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

namespace json = boost::json;

void replace_non_finite(json::value& value) {
    if (double* number = value.if_double()) {
        if (!std::isfinite(*number)) value = nullptr;
    } else if (json::object* object = value.if_object()) {
        for (json::key_value_pair& pair : *object) replace_non_finite(pair.value());
    } else if (json::array* array = value.if_array()) {
        for (json::value& element : *array) replace_non_finite(element);
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

void JsonLines::write(const json::object& record) {
    json::value clean(record);
    replace_non_finite(clean);
    file_ << json::serialize(clean) << '\n' << std::flush;
    if (!file_) throw IoError(concat("metrics: writing ", path_.string(), " failed; is the disk full?"));
}

}  // namespace sy::runtime
