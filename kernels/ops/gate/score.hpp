#pragma once

namespace sy::ops {

/// How a router's logits become scores. softmax: over all experts; renormalised over the chosen ones it is the softmax
/// over these alone. sigmoid: each expert by itself (DeepSeek-V3).
enum class Score { softmax, sigmoid };

}  // namespace sy::ops
