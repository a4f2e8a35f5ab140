#pragma once

#include <filesystem>
#include <functional>

#include "kernels/core/types.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {

/// Lines of a file of records.
struct LinesRead {
    index_t used = 0;
    index_t passed_over = 0;  ///< that are no records, as a killed run leaves one, or that were refused
};

/// Gives every record of a file of JSON lines to `use`, in order. Lines that are no JSON are passed over, and so are
/// records that `use` refuses with IoError.
/// @throws IoError when there is no such file
LinesRead read_records(const std::filesystem::path& file, const std::function<void(const Json&)>& use);

/// A member of a record; NaN, or 0, where it has none of this kind.
double number_in(const Json& record, const char* name);
index_t whole_in(const Json& record, const char* name);

/// A member of a record as text: without quotes; empty where it has none.
std::string text_in(const Json& record, const char* name);

}  // namespace sy::runtime
