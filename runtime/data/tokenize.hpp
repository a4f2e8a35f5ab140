#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/data/token_file.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

/// Texts into a token file: `switchyard data tokenize`.
namespace sy::runtime {

struct TokenizeRequest {
    std::vector<std::string> inputs;  ///< in the order of their documents
    std::string out;                  ///< the token file
    std::string tokenizer;            ///< its identity
    std::optional<std::int32_t> end_of_text;
    std::string json_field = "text";  ///< of a line of JSON lines that holds the document
    int threads = 1;
    double commit_every = 1.0;  ///< seconds of work that a kill costs at most
};

struct TokenizeProgress {
    index_t bytes_done = 0;  ///< of the inputs
    index_t num_bytes = 0;   ///< of all inputs
    index_t num_tokens = 0;
    index_t num_documents = 0;
};

struct Tokenized {
    index_t num_tokens = 0;
    index_t num_documents = 0;
    index_t continued_at = 0;  ///< bytes of the inputs that a killed run had done
};

/// Whether a file is read as JSON lines, which its name tells: .jsonl or .ndjson.
bool is_json_lines(const std::string& path);

/// Tokenizes the inputs with several threads. The file does not depend on their number, nor on how often the work was
/// killed and continued: the same request continues from the last commit. A document has at least a token: empty ones
/// have their end-of-text token, and are left out where there is none.
///
/// Memory: about 20 MiB a thread, more where lines or pieces are longer than 1 MiB (see text_pieces.hpp).
///
/// @param tokenizer  may be asked from several threads
/// @param progress   is told now and then; what it throws ends the work as a kill would
/// @throws IoError for inputs that are missing, not UTF-8 or no JSON lines, naming file and line: then nothing is left;
///         and as TokenFileWriter
Tokenized tokenize_files(const Tokenizer& tokenizer, const TokenizeRequest& request,
                         const std::function<void(const TokenizeProgress&)>& progress);

}  // namespace sy::runtime
