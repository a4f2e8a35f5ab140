#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// Memory for float32 values that whoever makes it sets all of: it is not zeroed before.
class ValueMemory {
  public:
    explicit ValueMemory(index_t num_values = 0)
        : values_(std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(num_values))),
          num_values_(static_cast<std::size_t>(num_values)) {}
    std::span<float> values() { return {values_.get(), num_values_}; }
    std::span<const float> values() const { return {values_.get(), num_values_}; }

  private:
    std::unique_ptr<float[]> values_;
    std::size_t num_values_;
};

}  // namespace sy::runtime
