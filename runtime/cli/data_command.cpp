#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <optional>
#include <sstream>

#include "runtime/cli/command_line.hpp"
#include "runtime/data/tokenize.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/train/processors.hpp"

namespace sy::runtime {
namespace {

/// Shows how far the work is: a line that is rewritten on a terminal, else one now and then.
class TokenizeDisplay {
  public:
    explicit TokenizeDisplay(std::ostream& out) : out_(out), live_(::isatty(STDERR_FILENO) == 1) {}
    ~TokenizeDisplay() {
        if (width_ > 0) out_ << std::endl;
    }
    TokenizeDisplay(const TokenizeDisplay&) = delete;
    TokenizeDisplay& operator=(const TokenizeDisplay&) = delete;

    void show(const TokenizeProgress& progress) {
        const double now = std::chrono::duration<double>(Clock::now() - start_).count();
        if (!begun_) begun_ = progress.bytes_done;
        if (now < next_s_) return;
        next_s_ = now + (live_ ? 0.2 : 10.0);
        const std::string line = text(progress, now);
        if (!live_) {
            out_ << line << std::endl;
            return;
        }
        out_ << "\r" << line << std::string(line.size() < width_ ? width_ - line.size() : 0, ' ')
             << std::flush;
        width_ = std::max(width_, line.size());
    }

  private:
    using Clock = std::chrono::steady_clock;

    std::string text(const TokenizeProgress& progress, double now) const {
        const double rate = static_cast<double>(progress.bytes_done - *begun_) / now;
        std::ostringstream text;
        text << std::fixed << std::setprecision(1) << std::setw(5)
             << 100.0 * static_cast<double>(progress.bytes_done) / static_cast<double>(progress.num_bytes)
             << " %  " << progress.num_documents << " documents  " << progress.num_tokens << " tokens  "
             << 1e-6 * rate << " MB/s";
        if (rate > 0.0)
            text << "  left "
                 << duration_text(static_cast<double>(progress.num_bytes - progress.bytes_done) / rate);
        return text.str();
    }

    std::ostream& out_;
    bool live_;
    Clock::time_point start_ = Clock::now();
    std::optional<index_t> begun_;  ///< what a run before this one had done, and a piece
    double next_s_ = 1.0;
    std::size_t width_ = 0;  ///< of the longest line that was rewritten
};

void check_tokenize(const Arguments& arguments) {
    std::vector<std::string> problems;
    const std::span<const std::string> inputs = std::span(arguments.words).subspan(1);
    if (arguments.tokenizer.empty())
        problems.emplace_back("data tokenize: name a tokenizer: --tokenizer bytes|FILE.json|FILE.model");
    if (arguments.out.empty()) problems.emplace_back("data tokenize: name the file to write: --out FILE.tok");
    if (!arguments.jsonl_field.empty() && std::ranges::none_of(inputs, is_json_lines))
        problems.emplace_back(
            "data tokenize: --jsonl-field is for inputs named .jsonl or .ndjson, and there are none");
    if (!problems.empty()) throw ConfigError(problems);
}

int run_tokenize(const Arguments& arguments) {
    check_tokenize(arguments);
    const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(arguments.tokenizer);
    TokenizeRequest request;
    request.inputs.assign(arguments.words.begin() + 1, arguments.words.end());
    request.out = arguments.out;
    request.tokenizer = tokenizer->identity();
    request.end_of_text = tokenizer->end_of_text();
    if (!arguments.jsonl_field.empty()) request.json_field = arguments.jsonl_field;
    const std::array processors{allowed_processors()};
    request.threads = arguments.threads > 0 ? arguments.threads : processor_share(processors, 0);
    TokenizeDisplay display(std::cerr);
    const Tokenized done = tokenize_files(*tokenizer, request,
                                          [&](const TokenizeProgress& progress) { display.show(progress); });
    if (done.continued_at > 0)
        std::cout << "continued behind the first " << done.continued_at
                  << " bytes, which an earlier run had done\n";
    std::cout << done.num_documents << " documents, " << done.num_tokens << " tokens, written to "
              << arguments.out << "\n";
    return 0;
}

int inspect_token_files(const Arguments& arguments) {
    for (std::size_t i = 1; i < arguments.words.size(); ++i) {
        const TokenFile file(arguments.words[i]);
        std::cout << arguments.words[i] << "\n  tokens       " << file.num_tokens() << "\n  documents    "
                  << file.num_documents() << "\n  text         " << file.num_bytes()
                  << " bytes\n  tokenizer    " << file.tokenizer() << ", " << file.vocab_size()
                  << " ids\n  end of text  ";
        if (file.source().end_of_text) {
            std::cout << *file.source().end_of_text;
        } else {
            std::cout << "none";
        }
        std::ostringstream checksum;
        checksum << std::hex << std::setw(16) << std::setfill('0') << file.checksum();
        std::cout << "\n  checksum     " << checksum.str() << "\n";
    }
    return 0;
}

int verify_token_files(const Arguments& arguments) {
    bool whole = true;
    for (std::size_t i = 1; i < arguments.words.size(); ++i) {
        const std::vector<std::string> problems = TokenFile(arguments.words[i]).verify();
        for (const std::string& problem : problems) std::cout << problem << "\n";
        std::cout << arguments.words[i]
                  << (problems.empty() ? ": whole: every token and document is there and unaltered\n"
                                       : ": damaged\n");
        whole = whole && problems.empty();
    }
    return whole ? 0 : 1;
}

}  // namespace

int run_data_command(const Arguments& arguments) {
    const std::string& action = arguments.words[0];
    if (action == "tokenize") return run_tokenize(arguments);
    if (!arguments.tokenizer.empty() || !arguments.out.empty() || !arguments.jsonl_field.empty() ||
        arguments.threads > 0)
        throw ConfigError(concat("data ", action, " takes no options; they are for data tokenize"));
    if (action == "inspect") return inspect_token_files(arguments);
    if (action == "verify") return verify_token_files(arguments);
    throw ConfigError(concat("data: unknown action '", action, "'; write tokenize, inspect or verify"));
}

}  // namespace sy::runtime
