#pragma once

#include <iosfwd>
#include <span>
#include <string>
#include <vector>

#include "runtime/report/scaling_study.hpp"

/// A scaling study for people.
namespace sy::runtime {

/// A table for each series, predictions below it, and what is missing.
void print_scaling_tables(std::ostream& out, const ScalingStudy& study,
                          std::span<const ScalingSeries> series);

/// Sentences on how far the numbers go: missing runs, points that cannot run, single repeats, hosts that are shared, and
/// losses that should be equal.
std::vector<std::string> scaling_remarks(const ScalingStudy& study, std::span<const ScalingSeries> series);

}  // namespace sy::runtime
