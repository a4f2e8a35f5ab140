#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/config/config.hpp"
#include "runtime/interchange/config_keys.hpp"
#include "runtime/interchange/foreign_model.hpp"

/// The model classes of transformers that a model of ours can become, or come from: a file each in families/.
namespace sy::runtime {

/// How the weights of a layer's experts lie in a folder. transformers writes the first and reads all.
enum class ExpertLayout {
    separate,     ///< a tensor for each expert and matrix
    fused,        ///< gate_up_proj [E, 2f, d] and down_proj [E, d, f]
    fused_in_out  ///< gate_up_proj [E, d, 2f] and down_proj [E, f, d]
};

using TensorShapes = std::map<std::string, Shape>;

/// A model class of transformers. write_config and read_config are inverses for every setting that the class has; what
/// does not come back the same cannot be expressed.
struct HfFamily {
    std::string_view name;          ///< model_type
    std::string_view architecture;  ///< the class
    /// The keys of config.json beside model_type and architectures. @param config  has no inert settings
    Json::Object (*write_config)(const Config& config);
    /// The settings of a config.json over the defaults, and what cannot be expressed here.
    void (*read_config)(ConfigKeys& keys, Config& config);
    /// Where the tensors lie. @pre problems_of(family, config) is empty
    ForeignModel (*tensors)(const Config& config, const TensorShapes& ours, ExpertLayout layout);
    /// What cannot be seen from the settings alone, one sentence each; null: nothing.
    std::vector<std::string> (*other_problems)(const Config& config) = nullptr;
    /// Whose class it is where transformers has none; null: its own.
    const char* published_by = nullptr;
    /// What its tokenizer calls the file of SentencePiece.
    const char* sentencepiece_file = "tokenizer.model";
};

/// All of them; where several can express a model, the first is taken.
std::span<const HfFamily> hf_families();

/// @throws ConfigError naming the known ones
const HfFamily& find_hf_family(const std::string& name);

/// Every setting that the class cannot express, a sentence each with both values; empty when the model will compute the
/// same there.
std::vector<std::string> hf_problems(const HfFamily& family, const Config& config);

/// The class that a model is exported as: the first that expresses it.
/// @throws ConfigError with what keeps the nearest one from it
const HfFamily& choose_hf_family(const Config& config);

/// What a model computes differently there, or loses, that is no reason to refuse it: capacity, multi-token prediction.
std::vector<std::string> hf_notes(const Config& config);

/// The whole config.json.
Json hf_config_json(const HfFamily& family, const Config& config, const std::string& dtype);

/// The family of a config.json and its settings here.
struct HfConfig {
    const HfFamily* family = nullptr;
    Config config;
};
/// @throws ConfigError with every key that changes results and cannot be expressed here
HfConfig read_hf_config(const Json& config_json);

}  // namespace sy::runtime
