#pragma once

#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "runtime/generate/config.hpp"
#include "runtime/generate/prompts.hpp"

namespace sy::runtime {

enum class FinishReason { length, stop, end };

/// What one prompt has become.
struct GenerationResult {
    index_t prompt_idx = 0;
    std::vector<std::int32_t> tokens;  ///< generated, with the one that ended it
    std::vector<double> logprobs;      ///< of tokens, in the model's own distribution
    /// [tokens of the prompt] with NaN for the first, where generate.prompt_logprobs; else empty.
    std::vector<double> prompt_logprobs;
    FinishReason finish = FinishReason::length;
};

/// Results as a message between ranks, and back.
std::string to_message(const std::vector<GenerationResult>& results);
std::vector<GenerationResult> from_message(const std::string& message);

/// Writes texts in the order of their prompts, each as soon as all before it are there.
class ResultWriter {
  public:
    ResultWriter(std::ostream& out, const GenerateConfig& config, const std::vector<Prompt>& prompts);

    /// The text so far of the prompt whose turn it is: shown at once where texts are written. Whole characters.
    void show(index_t prompt_idx, std::string_view text);
    void add(const GenerationResult& result, std::string text);
    /// @throws IoError when it could not all be written
    void flush();

  private:
    struct Finished {
        GenerationResult result;
        std::string text;
    };
    void write(const Finished& finished);

    std::ostream& out_;
    const GenerateConfig& config_;
    const std::vector<Prompt>& prompts_;
    std::map<index_t, Finished> waiting_;
    index_t next_ = 0;
    std::size_t shown_ = 0;  ///< bytes of the next prompt and its text
};

}  // namespace sy::runtime
