#pragma once

namespace sy::ops {

/// Which columns make pair i: (i, i + R/2), as in LLaMA checkpoints of transformers, or (2i, 2i + 1), as GPT-J and
/// DeepSeek.
enum class RotaryPairs { half_split, interleaved };

/// How frequencies theta^(-2i/R) are stretched for contexts `factor` times longer than those a model was trained on.
/// `linear`: divided by factor (Chen et al., arXiv:2306.15595). `ntk`: theta * factor^(R / (R - 2)), which keeps the
/// highest and divides the lowest by factor. `llama3`: waves longer than original / low_frequency are divided by
/// factor, those shorter than original / high_frequency kept, between them a blend (Llama 3.1). `yarn`: pairs that
/// rotate less than beta_slow times in the original context are divided, those above beta_fast times kept,
/// between them a ramp over the pairs (Peng et al., arXiv:2309.00071).
enum class RotaryStretch { none, linear, ntk, llama3, yarn };

}  // namespace sy::ops
