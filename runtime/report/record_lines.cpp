#include "runtime/report/record_lines.hpp"

#include <fstream>
#include <limits>
#include <string>
#include <system_error>

#include "kernels/core/error.hpp"

namespace sy::runtime {

LinesRead read_records(const std::filesystem::path& path, const std::function<void(const Json&)>& use) {
    // A pipe would be waited for, and a device may go on for ever.
    std::error_code ignored;
    const bool is_file = std::filesystem::is_regular_file(path, ignored);
    std::ifstream file;
    if (is_file) file.open(path);
    if (!is_file || !file)
        throw IoError(concat("report: cannot read ", path.string(), "; give the run.directory of a run"));
    LinesRead lines;
    for (std::string line; std::getline(file, line);) {
        if (line.empty()) continue;
        try {
            use(Json::parse(line));
            ++lines.used;
        } catch (const IoError&) {
            ++lines.passed_over;
        }
    }
    return lines;
}

double number_in(const Json& record, const char* name) {
    const Json* value = record.find(name);
    return value != nullptr && value->is_number() ? value->as_number()
                                                  : std::numeric_limits<double>::quiet_NaN();
}

index_t whole_in(const Json& record, const char* name) {
    const Json* value = record.find(name);
    return value != nullptr && value->is_whole() ? value->as_whole() : 0;
}

std::string text_in(const Json& record, const char* name) {
    const Json* value = record.find(name);
    if (value == nullptr || value->is_null()) return {};
    const bool is_text =
        !value->is_bool() && !value->is_number() && !value->is_array() && !value->is_object();
    return is_text ? value->as_string() : value->text();
}

}  // namespace sy::runtime
