#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/balance/balance.hpp"

namespace sy::test {

/// Exact sums as a device holds them, in memory of the host; 0 at first.
class SumWords {
  public:
    explicit SumWords(index_t num_sums)
        : words_(static_cast<std::size_t>(num_sums) * ExactSum::kNumWords), num_sums_(num_sums) {}

    TensorRef ref() { return MatrixView(words_.data(), num_sums_, index_t{ExactSum::kNumWords}); }
    TensorRef ref(Range sums) { return ref().rows_of(sums); }
    operator TensorRef() { return ref(); }  // NOLINT(google-explicit-constructor): as a tensor
    std::vector<ExactSum> sums() { return ops::exact_sums(ref()); }

  private:
    std::vector<std::int64_t> words_;
    index_t num_sums_;
};

}  // namespace sy::test
