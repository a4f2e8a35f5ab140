#pragma once

#include <vector>

#include "tests/unit/kernels/operation_cases.hpp"

namespace sy::test {

/// What the operations of a case leave on a device.
std::vector<OperationCase::Piece> run_on(Device& device, const NamedCase& named,
                                         NumericsMode numerics = NumericsMode::fast);

/// Largest difference of two results of one size, of the largest number: 0 for the same bytes, infinite where integers differ,
/// or where one number is not finite and the other is not the same. One NaN is as good as another.
double difference(const OperationCase::Piece& piece, const OperationCase::Piece& expected);

/// Fails unless a case has left what it leaves on the CPU: integers, codes and marks to the bit, numbers within what
/// exponentials and the order of long sums explain.
void check_pieces(const NamedCase& named, std::span<const OperationCase::Piece> pieces);
/// Runs the cases on the device and checks what they leave there.
void check_cases(Device& device, std::span<const NamedCase> cases);

}  // namespace sy::test
