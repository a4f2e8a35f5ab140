#include "runtime/generate/generate.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/offsets.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "runtime/data/open_tokenizer.hpp"

namespace sy::runtime {
namespace {

struct VocabularyAxis;
struct RankingAxis;

}  // namespace

index_t sample_token(std::span<const float> logits, const GenerateConfig& config, float draw) {
    const auto bad = std::ranges::find_if(logits, [](float logit) { return !std::isfinite(logit); });
    if (bad != logits.end()) {
        throw Error(concat("generate: the logit of token ", bad - logits.begin(), " is not finite (", *bad,
                           "): training has diverged; use an earlier checkpoint"));
    }
    Indexed<RankingAxis, index_t> order(static_cast<index_t>(logits.size()));
    std::iota(order.begin(), order.end(), index_t{0});
    const IndexedSpan<VocabularyAxis, const float> logit = logits;
    std::stable_sort(order.begin(), order.end(), [&](index_t a, index_t b) { return logit[a] > logit[b]; });
    if (config.temperature <= 0.0) return order.front();
    Indexed<VocabularyAxis, float> probability(logit.size());
    ops::softmax_row(logits, config.temperature, std::span(probability));
    if (config.top_k > 0) order.resize(std::min(order.size(), config.top_k));
    double held = 0.0;
    index_t count = 0;
    while (count < order.size() && (count == 0 || held < config.top_p)) {
        held += static_cast<double>(probability[order[count]]);
        ++count;
    }
    double left = static_cast<double>(draw) * held;
    for (index_t i = 0; i < count; ++i) {
        left -= static_cast<double>(probability[order[i]]);
        if (left <= 0.0) return order[i];
    }
    return order[count - 1];
}

index_t sample_token_at(std::span<const float> logits, const GenerateConfig& config, index_t place) {
    const RandomKey key{config.seed, 0, 0, RandomPurpose::sample};
    return sample_token(logits, config, uniform(key, static_cast<std::uint64_t>(place)));
}

namespace {

/// @throws ConfigError unless a decoder of `seq_len` tokens can go on from a prompt
void check_length(index_t prompt_length, index_t more, index_t seq_len) {
    if (prompt_length == 0)
        throw ConfigError("generate.prompt is empty; give a decoder at least one token to go on from");
    if (prompt_length + more <= seq_len) return;
    throw ConfigError(concat("generate.prompt: its ", prompt_length, " tokens and generate.tokens = ", more,
                             " are more than the ", seq_len, " of model.seq_len; ",
                             prompt_length < seq_len
                                 ? concat("generate.tokens = ", seq_len - prompt_length, " is the most")
                                 : std::string("shorten the prompt")));
}

std::string continue_prompt(Session& session) {
    const GenerateConfig& rule = session.config().generate;
    const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(session.config());
    std::vector<std::int32_t> ids = tokenizer->encode(rule.prompt);
    const auto prompt_length = static_cast<index_t>(ids.size());
    const index_t length = prompt_length + rule.tokens;
    check_length(prompt_length, rule.tokens, session.config().model.seq_len);
    model::Transformer::Generation state =
        session.transformer().start_generation(1, length, session.context());
    for (index_t t = 0; t + 1 < length; ++t) {
        const std::span<const std::int32_t> last = part(std::span(ids), {t, t + 1});
        const Tensor logits = session.transformer().decode(last, state, session.context());
        if (t + 1 < prompt_length) continue;
        const auto known = part(logits.values<float>(), {0, tokenizer->vocab_size()});
        ids.push_back(static_cast<std::int32_t>(sample_token_at(known, rule, t)));
    }
    return tokenizer->decode(ids);
}

}  // namespace

std::string generate(Session& session) {
    switch (session.config().model.architecture) {
        case model::Architecture::encoder:
            return fill_masks(session);
        case model::Architecture::encoder_decoder:
            return fill_spans(session);
        case model::Architecture::decoder:
            break;
    }
    return continue_prompt(session);
}

}  // namespace sy::runtime
