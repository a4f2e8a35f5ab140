#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/config.hpp"
#include "model/pass.hpp"

namespace sy::model {

/// Lengths of span corruption, the same for every sequence, so that batches are rectangular.
struct SpanLengths {
    index_t num_noise = 0;  ///< tokens of a sequence that are taken out
    index_t num_spans = 0;  ///< in so many runs
    index_t encoder = 0;    ///< what is left, with one sentinel for each span
    index_t decoder = 0;    ///< the spans, each behind its sentinel, and a last sentinel
};
SpanLengths span_lengths(const ModelConfig& model);

/// What is wrong with span corruption of this model, one sentence each.
std::vector<std::string> span_problems(const ModelConfig& model);

/// The id that stands for span `index` in both stacks, or ends the last: counted down from the end of the vocabulary.
std::int32_t sentinel_id(const ModelConfig& model, index_t index);
/// What the decoder begins with: the id below all sentinels.
std::int32_t start_id(const ModelConfig& model);

/// Rows of both stacks, sequence after sequence.
struct SpanBatch {
    std::vector<std::int32_t> encoder_ids;  ///< [sequences * lengths.encoder]
    std::vector<std::int32_t>
        decoder_ids;  ///< [sequences * lengths.decoder] a start id, then the targets but the last
    std::vector<std::int32_t> targets;  ///< [sequences * lengths.decoder]
};

/// Takes spans out of every sequence of model.seq_len ids. A function of the global number of a sequence and `key`.
/// @param ids             [sequences * stride], the first seq_len of each stride are corrupted
/// @param first_sequence  global number of the first in the step
/// @par Source  T5, arXiv:1910.10683, section 3.1.4; lengths and segments as random_spans_noise_mask
SpanBatch corrupt_spans(std::span<const std::int32_t> ids, index_t stride, index_t first_sequence,
                        const RandomKey& key, const ModelConfig& model);

}  // namespace sy::model
