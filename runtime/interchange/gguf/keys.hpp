#pragma once

#include "runtime/interchange/gguf/architecture.hpp"

/// Keys that several architectures share, both ways.
namespace sy::runtime::gguf {

/// Sizes of a decoder, its heads and its norm.
void add_decoder_keys(const Config& config, KeyList& keys);
void read_decoder_settings(const KeyReader& keys, Config& config);

void add_rotary_keys(const Config& config, KeyList& keys);
/// @param pairs  as the architecture rotates; @param head_width  of which rope.dimension_count is a part
void read_rotary_settings(const KeyReader& keys, model::RopePairs pairs, index_t head_width, Config& config);

/// How many experts there are and how many are chosen.
void add_expert_counts(const Config& config, KeyList& keys);
void read_expert_counts(const KeyReader& keys, Config& config);

/// Routing that is all metadata: scores, groups, scale, and what glm4moe and deepseek2 want to know besides.
void add_described_routing(const Config& config, KeyList& keys);
/// @param score  where expert_gating_func is missing
void read_described_routing(const KeyReader& keys, model::Score score, Config& config);

}  // namespace sy::runtime::gguf
