// What is missing from a text, found by a model that was trained to: masked bytes, or lost spans.
#include <algorithm>

#include "kernels/core/philox.hpp"
#include "model/objective/masking.hpp"
#include "model/objective/spans.hpp"
#include "runtime/generate/generate.hpp"

namespace sy::runtime {
namespace {

std::int32_t id_of(char byte) {
    return static_cast<unsigned char>(byte);
}

/// @throws ConfigError unless an encoder can read `length` tokens of the prompt
void check_length(index_t length, index_t most) {
    if (length >= 1 && length <= most) return;
    throw ConfigError(concat("generate.prompt is ", length, " tokens to the encoder, which was trained on ",
                             most, "; give it 1 to ", most));
}

/// The text between gaps: one piece more than there are gaps.
std::vector<std::string> pieces_of(const std::string& prompt, char gap) {
    std::vector<std::string> pieces{""};
    for (std::size_t i = 0; i < prompt.size(); ++i) {
        if (prompt[i] != gap) {
            pieces.back().push_back(prompt[i]);
        } else if (i == 0 || prompt[i - 1] != gap) {
            pieces.emplace_back();
        }
    }
    return pieces;
}

float draw_of(const GenerateConfig& rule, index_t place) {
    return uniform({rule.seed, 0, 0, RandomPurpose::sample}, static_cast<std::uint64_t>(place));
}

}  // namespace

std::string fill_masks(Session& session) {
    const GenerateConfig& rule = session.config().generate;
    check_length(static_cast<index_t>(rule.prompt.size()), session.config().model.seq_len);
    const char gap = rule.gap.front();
    std::string text = rule.prompt;
    if (text.find(gap) == text.npos) {
        throw ConfigError(concat("generate: an encoder finds missing bytes, and continues nothing; put \"",
                                 gap, "\" (generate.gap) into generate.prompt for each"));
    }
    std::vector<std::int32_t> ids;
    for (const char byte : text)
        ids.push_back(byte == gap ? model::mask_id(session.config().model) : id_of(byte));
    for (std::size_t place = 0; place < ids.size(); ++place) {
        if (rule.prompt[place] != gap) continue;
        const Tensor logits =
            session.transformer().read(ids, static_cast<index_t>(ids.size()), session.context());
        const std::span<const float> row = logits.matrix<float>().row_span(static_cast<index_t>(place));
        const index_t byte = sample_token(row.first(256), rule, draw_of(rule, static_cast<index_t>(place)));
        text[place] = static_cast<char>(static_cast<unsigned char>(byte));
        ids[place] = static_cast<std::int32_t>(byte);
    }
    return text;
}

std::string fill_spans(Session& session) {
    const GenerateConfig& rule = session.config().generate;
    const model::SpanLengths lengths = model::span_lengths(session.config().model);
    std::vector<std::string> pieces = pieces_of(rule.prompt, rule.gap.front());
    if (pieces.size() == 1) pieces.emplace_back();  // continue it
    const std::size_t num_gaps = pieces.size() - 1;
    if (static_cast<index_t>(num_gaps) > lengths.num_spans) {
        throw ConfigError(concat("generate.prompt has ", num_gaps,
                                 " gaps, and the model was trained to fill ", lengths.num_spans,
                                 "; leave some out"));
    }
    std::vector<std::int32_t> source;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        std::ranges::transform(pieces[i], std::back_inserter(source), id_of);
        if (i < num_gaps)
            source.push_back(model::sentinel_id(session.config().model, static_cast<index_t>(i)));
    }
    const auto source_len = static_cast<index_t>(source.size());
    check_length(source_len, lengths.encoder);
    model::Transformer::Generation state =
        session.transformer().start_generation(source, source_len, lengths.decoder, session.context());
    const auto feed = [&](std::int32_t id) {
        return session.transformer().decode(std::span<const std::int32_t>(&id, 1), state, session.context());
    };
    // What comes first is known: the sentinel of the first gap.
    feed(model::start_id(session.config().model));
    std::vector<std::string> found{""};
    std::int32_t next = model::sentinel_id(session.config().model, 0);
    for (index_t token = 0; token < rule.tokens && state.position < lengths.decoder;) {
        const Tensor logits = feed(next);
        const std::int32_t end =
            model::sentinel_id(session.config().model, static_cast<index_t>(found.size()));
        // A byte, or the sentinel that ends the span.
        std::vector<float> choices(logits.values<float>().begin(), logits.values<float>().begin() + 256);
        choices.push_back(logits.values<float>()[static_cast<std::size_t>(end)]);
        const index_t choice = sample_token(choices, rule, draw_of(rule, state.position));
        if (choice < 256) {
            found.back().push_back(static_cast<char>(static_cast<unsigned char>(choice)));
            next = static_cast<std::int32_t>(choice);
            ++token;
            continue;
        }
        if (found.size() == num_gaps) break;
        found.emplace_back();
        next = end;
    }
    std::string text;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        text += pieces[i];
        if (i < num_gaps) text += i < found.size() ? found[i] : rule.gap;
    }
    return text;
}

}  // namespace sy::runtime
