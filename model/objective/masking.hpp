#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/config.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// What an encoder reads, and its targets: -1 where a token has none.
struct MaskedTokens {
    std::vector<std::int32_t> ids;
    std::vector<std::int32_t> targets;
};

/// The id that stands for a masked token: the last of the vocabulary.
inline std::int32_t mask_id(const ModelConfig& model) {
    return static_cast<std::int32_t>(model.vocab_size - 1);
}

/// Chooses each token with probability model.mask_fraction; of the chosen, 8 in 10 become mask_id, 1 a random other id
/// and 1 stays. A function of the global number of a token, `key` and the token alone.
/// @param first_token  global number of ids[0] in the step
/// @par Source  BERT, arXiv:1810.04805, section 3.1
MaskedTokens mask_tokens(std::span<const std::int32_t> ids, index_t first_token, const RandomKey& key,
                         const ModelConfig& model);
/// How many of the tokens with these global numbers mask_tokens would choose.
index_t count_masked(Range tokens, const RandomKey& key, const ModelConfig& model);

}  // namespace sy::model
