#include "model/objective/spans.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/core/decimal.hpp"

namespace sy::model {
namespace {

/// Cuts `count` items into `parts` runs of at least one, every choice of cuts being as likely (selection sampling).
/// @param first_draw  of the numbers of `key`
std::vector<index_t> cut(index_t count, index_t parts, const RandomKey& key, index_t first_draw) {
    std::vector<index_t> lengths{0};
    index_t wanted = parts - 1;
    for (index_t item = 0; item < count; ++item) {
        ++lengths.back();
        const index_t places = count - 1 - item;
        if (places == 0) break;
        const auto draw = static_cast<double>(uniform(key, static_cast<std::uint64_t>(first_draw + item)));
        if (draw * static_cast<double>(places) < static_cast<double>(wanted)) {
            lengths.push_back(0);
            --wanted;
        }
    }
    return lengths;
}

}  // namespace

SpanLengths span_lengths(const ModelConfig& model) {
    SpanLengths lengths;
    lengths.num_noise =
        std::clamp<index_t>(decimal_round(model.mask_fraction, model.seq_len), 1, model.seq_len - 1);
    lengths.num_spans = std::max<index_t>(
        1, std::llround(static_cast<double>(lengths.num_noise) / static_cast<double>(model.span_length)));
    lengths.encoder = model.seq_len - lengths.num_noise + lengths.num_spans;
    lengths.decoder = lengths.num_noise + lengths.num_spans + 1;
    return lengths;
}

std::int32_t sentinel_id(const ModelConfig& model, index_t index) {
    return narrow<std::int32_t>(model.vocab_size - 1 - index);
}

std::int32_t start_id(const ModelConfig& model) {
    return sentinel_id(model, span_lengths(model).num_spans + 1);
}

std::vector<std::string> span_problems(const ModelConfig& model) {
    if (model.seq_len < 2) return {"span corruption needs two tokens; raise model.seq_len"};
    std::vector<std::string> problems;
    const SpanLengths lengths = span_lengths(model);
    if (lengths.num_spans > model.seq_len - lengths.num_noise || lengths.decoder > model.seq_len) {
        problems.push_back(concat("model.mask_fraction = ", model.mask_fraction, " in ", lengths.num_spans,
                                  " spans leaves no room between them or for them in ", model.seq_len,
                                  " tokens; lower it or raise model.span_length"));
    }
    const index_t needed = 256 + lengths.num_spans + 2;
    if (model.vocab_size < needed) {
        problems.push_back(concat("model.vocab_size = ", model.vocab_size, " has no room for ",
                                  lengths.num_spans + 2,
                                  " ids of span corruption beside 256 bytes; set it to at least ", needed));
    }
    return problems;
}

SpanBatch corrupt_spans(std::span<const std::int32_t> ids, index_t stride, index_t first_sequence,
                        const RandomKey& key, const ModelConfig& model) {
    const SpanLengths lengths = span_lengths(model);
    SpanBatch batch;
    for (index_t s = 0; s * stride < static_cast<index_t>(ids.size()); ++s) {
        const index_t draw = (first_sequence + s) * 2 * model.seq_len;
        const auto kept = cut(model.seq_len - lengths.num_noise, lengths.num_spans, key, draw);
        const auto taken = cut(lengths.num_noise, lengths.num_spans, key, draw + model.seq_len);
        auto next = ids.begin() + s * stride;
        const std::size_t first_target = batch.targets.size();
        for (std::size_t i = 0; i < kept.size(); ++i) {
            const std::int32_t sentinel = sentinel_id(model, static_cast<index_t>(i));
            batch.encoder_ids.insert(batch.encoder_ids.end(), next, next + kept[i]);
            batch.encoder_ids.push_back(sentinel);
            next += kept[i];
            batch.targets.push_back(sentinel);
            batch.targets.insert(batch.targets.end(), next, next + taken[i]);
            next += taken[i];
        }
        batch.targets.push_back(sentinel_id(model, lengths.num_spans));
        batch.decoder_ids.push_back(start_id(model));
        batch.decoder_ids.insert(batch.decoder_ids.end(),
                                 batch.targets.begin() + static_cast<std::ptrdiff_t>(first_target),
                                 batch.targets.end() - 1);
    }
    return batch;
}

}  // namespace sy::model
