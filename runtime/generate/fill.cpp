// What is missing from a text, found by a model that was trained to: masked tokens, or corrupted spans.
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/offsets.hpp"
#include "model/objective/masking.hpp"
#include "model/objective/spans.hpp"
#include "runtime/data/open_tokenizer.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/generate/sampler.hpp"

namespace sy::runtime {
namespace {

using Ids = std::vector<std::int32_t>;

/// @throws ConfigError unless an encoder can read `length` tokens of the prompt
void check_length(std::size_t length, index_t most) {
    if (length == 0) throw ConfigError("generate.prompt is empty; give an encoder a text with gaps");
    if (static_cast<index_t>(length) <= most) return;
    throw ConfigError(concat("generate.prompt is ", length, " tokens to the encoder, which was trained on ",
                             most, "; give it 1 to ", most));
}

/// The texts between gaps: one more than there are gaps. They are cut before they become tokens, because a token may hold
/// the gap and its neighbours.
std::vector<std::string> split_at_gaps(std::string_view prompt, std::string_view gap) {
    std::vector<std::string> texts;
    for (std::size_t place = prompt.find(gap); place != std::string_view::npos; place = prompt.find(gap)) {
        texts.emplace_back(prompt.substr(0, place));
        prompt.remove_prefix(place + gap.size());
    }
    texts.emplace_back(prompt);
    return texts;
}

/// The tokens between spans, each of which is a run of gaps: one piece more than there are spans, and at least one span,
/// if only behind the prompt.
std::vector<Ids> pieces_of(const std::string& prompt, const std::string& gap, const Tokenizer& tokenizer) {
    const std::vector<std::string> texts = split_at_gaps(prompt, gap);
    std::vector<Ids> pieces;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        if (texts[i].empty() && i > 0 && i + 1 < texts.size()) continue;
        pieces.push_back(tokenizer.encode(texts[i]));
    }
    if (pieces.size() == 1) pieces.emplace_back();
    return pieces;
}

/// The pieces with a sentinel for each gap.
Ids source_of(const std::vector<Ids>& pieces, const model::ModelConfig& config) {
    Ids source = pieces.front();
    for (std::size_t i = 1; i < pieces.size(); ++i) {
        source.push_back(model::sentinel_id(config, static_cast<index_t>(i - 1)));
        source.insert(source.end(), pieces[i].begin(), pieces[i].end());
    }
    return source;
}

/// What the decoder writes for each gap that it reaches.
std::vector<Ids> find_spans(Session& session, const Ids& source, std::size_t num_gaps, index_t vocab_size) {
    const GenerateConfig& rule = session.config().generate;
    const model::ModelConfig& config = session.config().model;
    const index_t capacity = model::span_lengths(config).decoder;
    model::Transformer::Generation state = session.transformer().start_generation(
        source, static_cast<index_t>(source.size()), capacity, session.context());
    const auto feed = [&](std::int32_t id) {
        return session.transformer().decode(std::span<const std::int32_t>(&id, 1), state, session.context());
    };
    // What comes first is known: the sentinel of the first gap.
    feed(model::start_id(config));
    std::int32_t next = model::sentinel_id(config, 0);
    std::vector<Ids> found(1);
    for (index_t token = 0; token < rule.tokens && state.lengths.front() < capacity;) {
        const Tensor logits = feed(next);
        const HostValues read(HostRead::logits, {logits}, session.context());
        const auto all = host_values<const float>(read[0]);
        const std::int32_t end = model::sentinel_id(config, static_cast<index_t>(found.size()));
        // A token of the text, or the sentinel that ends the span.
        std::vector<float> choices(all.begin(), all.begin() + vocab_size);
        choices.push_back(all[static_cast<std::size_t>(end)]);
        const index_t choice = sample_token_at(choices, {}, rule, {0, state.lengths.front()});
        if (choice < vocab_size) {
            next = static_cast<std::int32_t>(choice);
            found.back().push_back(next);
            ++token;
        } else {
            if (found.size() == num_gaps) break;
            next = end;
            found.emplace_back();
        }
    }
    return found;
}

}  // namespace

std::string fill_masks(Session& session, const std::string& prompt) {
    const GenerateConfig& rule = session.config().generate;
    const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(session.config());
    const std::vector<std::string> texts = split_at_gaps(prompt, rule.gap);
    Ids ids = tokenizer->encode(texts.front());
    std::vector<std::size_t> gaps;
    for (std::size_t i = 1; i < texts.size(); ++i) {
        gaps.push_back(ids.size());
        ids.push_back(model::mask_id(session.config().model));
        const Ids more = tokenizer->encode(texts[i]);
        ids.insert(ids.end(), more.begin(), more.end());
    }
    check_length(ids.size(), session.config().model.seq_len);
    if (gaps.empty()) {
        throw ConfigError(concat("generate: an encoder finds missing tokens, and continues nothing; put \"",
                                 rule.gap, "\" (generate.gap) into generate.prompt for each"));
    }
    for (const std::size_t place : gaps) {
        const auto place_idx = static_cast<index_t>(place);
        const Tensor logits =
            session.transformer().read(ids, static_cast<index_t>(ids.size()), session.context());
        const HostValues read(HostRead::logits, {logits.ref().rows_of({place_idx, place_idx + 1})},
                              session.context());
        const auto row = host_values<const float>(read[0]);
        const auto known = part(row, {0, tokenizer->vocab_size()});
        ids[place] = static_cast<std::int32_t>(sample_token_at(known, {}, rule, {0, place_idx}));
    }
    return tokenizer->decode(ids);
}

std::string fill_spans(Session& session, const std::string& prompt) {
    const GenerateConfig& rule = session.config().generate;
    const model::ModelConfig& config = session.config().model;
    const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(session.config());
    const model::SpanLengths lengths = model::span_lengths(config);
    const std::vector<Ids> pieces = pieces_of(prompt, rule.gap, *tokenizer);
    const std::size_t num_gaps = pieces.size() - 1;
    if (static_cast<index_t>(num_gaps) > lengths.num_spans) {
        throw ConfigError(concat("generate.prompt has ", num_gaps,
                                 " gaps, and the model was trained to fill ", lengths.num_spans,
                                 "; leave some out"));
    }
    const Ids source = source_of(pieces, config);
    check_length(source.size(), lengths.encoder);
    const std::vector<Ids> found = find_spans(session, source, num_gaps, tokenizer->vocab_size());
    std::string text = tokenizer->decode(pieces.front());
    for (std::size_t i = 0; i < num_gaps; ++i)
        text +=
            (i < found.size() ? tokenizer->decode(found[i]) : rule.gap) + tokenizer->decode(pieces[i + 1]);
    return text;
}

}  // namespace sy::runtime
