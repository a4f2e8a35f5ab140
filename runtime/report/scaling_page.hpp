#pragma once

#include <span>

#include "runtime/report/page.hpp"
#include "runtime/report/scaling_study.hpp"

namespace sy::runtime {

/// A scaling study as a page with figures. @pre there is a series
Page scaling_page(const ScalingStudy& study, std::span<const ScalingSeries> series);

}  // namespace sy::runtime
