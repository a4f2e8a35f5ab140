#include "model/objective/masking.hpp"

namespace sy::model {
namespace {

/// @param draw  the random numbers of a token
bool is_chosen(const auto& draw, const ModelConfig& model) {
    return uniform_from(draw[0]) < static_cast<float>(model.mask_fraction);
}

}  // namespace

MaskedTokens mask_tokens(std::span<const std::int32_t> ids, index_t first_token, const RandomKey& key,
                         const ModelConfig& model) {
    MaskedTokens result{{ids.begin(), ids.end()}, std::vector<std::int32_t>(ids.size(), -1)};
    for (std::size_t t = 0; t < ids.size(); ++t) {
        const auto words = philox(key, static_cast<std::uint64_t>(first_token) + t);
        if (!is_chosen(words, model)) continue;
        result.targets[t] = ids[t];
        const float action = uniform_from(words[1]);
        if (action < 0.8F) {
            result.ids[t] = mask_id(model);
        } else if (action < 0.9F) {
            result.ids[t] = static_cast<std::int32_t>(static_cast<double>(uniform_from(words[2])) *
                                                      static_cast<double>(model.vocab_size - 1));
        }
    }
    return result;
}

index_t count_masked(Range tokens, const RandomKey& key, const ModelConfig& model) {
    index_t count = 0;
    for (index_t t = tokens.begin; t < tokens.end; ++t) {
        if (is_chosen(philox(key, static_cast<std::uint64_t>(t)), model)) ++count;
    }
    return count;
}

}  // namespace sy::model
