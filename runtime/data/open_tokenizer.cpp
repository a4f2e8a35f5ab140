#include "runtime/data/open_tokenizer.hpp"

#include "model/objective/spans.hpp"

namespace sy::runtime {
namespace {

/// Ids at the end of the vocabulary that no text has.
index_t num_reserved_ids(const model::ModelConfig& model) {
    switch (model.architecture) {
        case model::Architecture::decoder:
            return 0;
        case model::Architecture::encoder:
            return 1;
        case model::Architecture::encoder_decoder:
            return model.vocab_size - model::start_id(model);
    }
    return 0;
}

}  // namespace

std::unique_ptr<Tokenizer> open_tokenizer(const Config& config) {
    std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(config.data.tokenizer);
    const index_t reserved = num_reserved_ids(config.model);
    const index_t needed = tokenizer->vocab_size() + reserved;
    if (config.model.vocab_size >= needed) return tokenizer;
    throw ConfigError(concat(
        "model.vocab_size = ", config.model.vocab_size, " is less than the ", tokenizer->vocab_size(),
        " tokens of data.tokenizer = ", config.data.tokenizer,
        reserved > 0 ? concat(" and the ", reserved,
                              reserved == 1 ? " id that stands for masked tokens" : " ids that mark spans")
                     : std::string(),
        "; set it to at least ", needed, ", or use the tokenizer that the model was trained with"));
}

}  // namespace sy::runtime
