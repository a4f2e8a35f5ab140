#pragma once

#include "tests/unit/model/layouts.hpp"

/// What whole tiny models are held to, whatever they are made of.
namespace sy::test {

/// The gradient of every parameter against central differences of the loss along it.
/// @param use  of the passes that are compared: train where the loss has parts that evaluation leaves out
/// @param tolerance  relative, of the slopes
/// @pre  the loss is smooth: no choice of experts that small changes could flip
void check_gradients(const model::ModelConfig& config, const model::MoeConfig& moe,
                     model::Use use = model::Use::evaluate, double tolerance = 0.005);

/// Decoding token by token with the cache gives the loss of a whole pass.
void check_decoding(const model::ModelConfig& config, const model::MoeConfig& moe);

}  // namespace sy::test
