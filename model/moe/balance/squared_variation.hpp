#pragma once

#include <span>
#include <vector>

#include "kernels/core/exact_sum.hpp"

namespace sy::model {

/// CV^2 = population variance / (mean^2 + 1e-10) of sums.
/// @par Source  Shazeer et al., arXiv:1701.06538, eq. 7 and appendix A
double squared_variation(std::span<const ExactSum> sums);
/// Its derivative by each sum, times scale, in double and rounded once.
std::vector<float> squared_variation_gradient(std::span<const ExactSum> sums, double scale);

}  // namespace sy::model
