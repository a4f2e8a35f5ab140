#pragma once

namespace sy::ops {

/// What a norm divides by: rms, the root of the mean square (RMSNorm); layer, the standard deviation, after the mean
/// has been subtracted (LayerNorm).
enum class NormKind { rms, layer };

}  // namespace sy::ops
