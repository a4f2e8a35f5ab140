#pragma once

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::model {

/// Which rule took a choice its slot.
enum class DropReason : std::int32_t { none, capacity, device };

/// One choice that got no slot.
struct DroppedChoice {
    index_t step = 0;
    index_t micro_step = 0;
    index_t token = 0;  ///< global, in its micro-step
    std::int32_t layer = 0;
    std::int32_t choice = 0;
    std::int32_t expert = 0;
    DropReason reason = DropReason::none;

    bool operator==(const DroppedChoice&) const = default;
    /// By step, micro-step, layer, token and choice.
    friend bool operator<(const DroppedChoice& a, const DroppedChoice& b) { return a.place() < b.place(); }

  private:
    std::tuple<index_t, index_t, std::int32_t, index_t, std::int32_t> place() const {
        return {step, micro_step, layer, token, choice};
    }
};
static_assert(std::has_unique_object_representations_v<DroppedChoice>, "travels as bytes");

/// What this rank's tokens have lost in training, in the order of the passes.
using DropLedger = std::vector<DroppedChoice>;

}  // namespace sy::model
