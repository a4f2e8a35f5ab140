#pragma once

#include <filesystem>
#include <iosfwd>
#include <span>

#include "runtime/report/scaling_study.hpp"

/// A scaling study for other programs.
namespace sy::runtime {

/// "POINT.NUMBER VALUE UNIT" a line for each number of each point, means over repeats, and "POINT.NUMBER.ci95" with the half
/// width of the interval where there are repeats: for the patterns of JUBE and Benchpark.
void print_lines(std::ostream& out, std::span<const ScalingSeries> series);

/// Writes into the folder:
/// - results.jsonl, the lines of all runs;
/// - points.csv, means over repeats and half widths of their intervals, a row a point; runs.csv, a row a run;
///   predictions.csv, what the model says beyond them;
/// - extrap/SERIES.jsonl for Extra-P: seconds by phase over ranks p, each repeat a value;
/// - talp/SERIES/RUN.json for TALP-Pages: the measured steps of a run as the region Global, ranks as its CPUs.
/// @throws IoError when writing fails
void write_scaling_files(const std::filesystem::path& folder, const ScalingStudy& study,
                         std::span<const ScalingSeries> series);

}  // namespace sy::runtime
