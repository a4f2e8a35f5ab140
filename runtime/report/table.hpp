#pragma once

#include <filesystem>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/report/summary.hpp"

namespace sy::runtime {

/// An aligned table for people, a line a row; what a column means stands below it. "-": nothing to say.
/// Rows with several seeds show means, with the standard deviation in parentheses.
void print_table(std::ostream& out, std::span<const RunRow> rows);

/// The cells of that table, the head first, and what its columns mean.
std::vector<std::vector<std::string>> table_cells(std::span<const RunRow> rows);
std::string_view table_legend();

/// One JSON object a line and row; numbers that are not finite are null.
void print_json(std::ostream& out, std::span<const RunRow> rows);

/// Two or more plain sentences of what the last validations say and do not say, of spikes, of unfinished and diverged
/// runs, which are not ranked, of lines that could not be read, and of rows whose losses are the same bit for bit, so that what should tell them apart did nothing.
std::string remark(std::span<const RunRow> rows);

/// Files for gnuplot, columns with a head, means over seeds, steps counted from a run's own first: NAME.steps.dat and NAME.validation.dat for each row.
/// @throws IoError when writing fails
void write_data(const std::filesystem::path& folder, std::span<const RunRow> rows);

}  // namespace sy::runtime
