#pragma once

#include <string_view>

#include "comm/communicator.hpp"
#include "comm/relocation/move_plan.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor_ref.hpp"

namespace sy::comm {

/// Executes a plan: one message a move, from the old array straight into the new one.
/// @param before, after  this rank's arrays, [N] f32, which do not overlap; the plan gives every element of `after` that
///                       it names
/// @param tag            0 .. kMaxTag, free on `comm`
/// @param doing          for time-out messages
/// @return bytes sent to other ranks
/// @pre the same plan on all ranks @throws LogicError when it reaches outside the arrays
/// @par Collective over `comm`
index_t move_rows(Communicator& comm, const MovePlan& plan, ConstTensorRef before, TensorRef after, int tag,
                  std::string_view doing, const Context& context);

}  // namespace sy::comm
