#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "tests/unit/kernels/operation_cases.hpp"

/// What the bodies of CUDA give when the host's compiler compiles them and when nvcc does (tests/cuda_on_cpu/ptx): one
/// program writes the results of all cases to a file, the other one compares.
namespace sy::test {

using Pieces = std::vector<OperationCase::Piece>;

/// The file that $SY_ROUTE_RESULTS names.
std::string route_results_file();
/// What a case leaves on an emulated GPU.
Pieces run_on_gpu(const NamedCase& named);
/// Of both programs, in the order in which their results are in the file.
std::vector<NamedCase> all_cases();

void write_pieces(std::ostream& out, const Pieces& pieces);
/// @throws IoError at the file's end
Pieces read_pieces(std::istream& in);

}  // namespace sy::test
