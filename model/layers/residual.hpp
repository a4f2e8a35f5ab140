#pragma once

#include "model/autograd/tape.hpp"
#include "model/pass.hpp"

/// Steps on the residual stream that have no parameters.
namespace sy::model {

/// x + delta as a value of its own; x where there is no delta.
Value& add_residual(Tape& tape, Value& x, Value* delta);

/// x += y, both outputs of sub-layers that nothing else reads. Their gradient is one.
void join(Tape& tape, Value& x, Value& y);

/// Drops elements of x in place while training; nothing else may have read x.
/// @param key_idx  which of the model's dropouts: each has a stream of random numbers
/// @par Source  Srivastava et al., "Dropout", JMLR 15 (2014)
void drop(Tape& tape, Value& x, double probability, index_t key_idx, const PassInfo& pass);

}  // namespace sy::model
