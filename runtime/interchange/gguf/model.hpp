#pragma once

#include <map>
#include <optional>

#include "runtime/config/config.hpp"
#include "runtime/interchange/foreign_model.hpp"
#include "runtime/interchange/gguf.hpp"

namespace sy::runtime::gguf {

/// A model as llama.cpp stores it: keys, but for the tokenizer's, and tensors. A pure value of the settings and of what our
/// tensors are called and how large they are.
struct GgufModel {
    std::string architecture;
    std::vector<Key> keys;
    ForeignModel model;
};

/// The architecture that computes the model exactly: that of its family, or glm4moe, whose routing is all metadata.
/// @param architecture  this one and no other; empty: the first that fits
/// @throws ConfigError when none does, naming every setting that the nearest one cannot express
std::string choose_architecture(const Config& config, const std::string& architecture = {});

/// @param ours          shapes of our tensors by name
/// @param router_state  numbers of each router by its name
/// @pre  the architecture has no problems with the model
/// @throws LogicError when a value of either side is in no part or in two
GgufModel describe(const Config& config, const std::string& architecture,
                   const std::map<std::string, Shape>& ours,
                   const std::map<std::string, index_t>& router_state);

/// What an export leaves out or does otherwise, for people.
std::vector<std::string> export_notes(const Config& config);

/// The settings of a file, whoever made it: those that switchyard wrote into it, else those that its keys mean.
/// @throws IoError naming every key that has another value than these settings give it
Config read_settings(const Header& header);

/// What general.architecture names. @throws IoError where it is missing
std::string architecture_of(const Header& header);

inline constexpr index_t kNumBytes = 256;

/// The keys of a tokenizer whose tokens are bytes. @param vocab_size  of the model; what is beyond the bytes is unused
/// @throws ConfigError for a vocabulary that is too small
std::vector<Key> byte_tokenizer(index_t vocab_size);

}  // namespace sy::runtime::gguf
