#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.hpp"
#include "runtime/train/session.hpp"

namespace sy::runtime {

/// Tokens that are read together, and from which one on they are scored, each given those before it in the window.
struct EvalWindow {
    Range tokens;
    index_t first_scored = 0;  ///< counted in the text; the last scored is the window's last

    index_t num_scored() const { return tokens.end - first_scored; }
};

/// How eval.method cuts a text:
///  - windows: eval.context tokens each, one after the other; all but the first of each are scored
///  - llama.cpp: the same without a shorter one at the end; of N tokens, those from N / 2 + 1 on are scored
///  - sliding: windows begin eval.stride tokens apart; a token is scored in the first that holds it, but for the text's
///    first
/// @throws ConfigError where the settings contradict each other or the model, or the text is too short
/// @par Source  llama.cpp, tools/perplexity/perplexity.cpp, perplexity(); transformers, "Perplexity of fixed-length
///              models"
std::vector<EvalWindow> eval_windows(const EvalConfig& eval, index_t num_tokens, index_t seq_len);

/// What a text's scored tokens come to: the mean over them, whatever their window.
struct TextLoss {
    index_t num_windows = 0;
    index_t num_scored = 0;
    index_t num_bytes = 0;        ///< that the scored tokens stand for
    double nll = 0.0;             ///< mean cross entropy of a token, in nats
    double standard_error = 0.0;  ///< of nll, tokens taken as independent; 0 where it cannot be told

    double perplexity() const { return std::exp(nll); }
    double perplexity_error() const { return standard_error * perplexity(); }
    double bits_per_byte() const;
    /// One line for people.
    std::string text() const;
};

/// The loss of the model on a text, by eval.method. In llama.cpp's way each window's first token gives way to the one
/// that begins texts, if the tokenizer has one. In numerics.mode = reproducible the same on every number of ranks.
/// @throws ConfigError as eval_windows; Error where the loss is not finite
/// @par Collective over the world
TextLoss text_loss(Session& session, const Tokenizer& tokenizer, const std::string& text);

/// The same of the file eval.text. @throws IoError where it cannot be read @par Collective over the world
TextLoss text_loss(Session& session);

}  // namespace sy::runtime
