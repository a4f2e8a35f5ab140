#include "runtime/eval/perplexity.hpp"

#include <algorithm>
#include <iomanip>
#include <numbers>
#include <sstream>

#include "comm/collectives.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/ops/balance/balance.hpp"
#include "runtime/data/open_tokenizer.hpp"
#include "runtime/data/text_file.hpp"

namespace sy::runtime {
namespace {

using Ids = std::vector<std::int32_t>;

/// Tokens that a rank reads in one pass, if a window is not longer.
constexpr index_t kTokensTogether = 4096;
/// Texts are held in memory, with their tokens.
constexpr index_t kMostBytes = index_t{1} << 32;

index_t context_of(const EvalConfig& eval, index_t seq_len) {
    return eval.context > 0 ? eval.context : seq_len;
}

void check(const EvalConfig& eval, index_t num_tokens, index_t seq_len) {
    const index_t context = context_of(eval, seq_len);
    const bool halves = eval.method == EvalMethod::llama_cpp;
    std::vector<std::string> problems;
    if (context < 3 || context > seq_len) {
        problems.push_back(concat("eval.context = ", context, " tokens for a model.seq_len of ", seq_len,
                                  "; use 3 to ", seq_len, ", or 0 for all"));
    }
    if (eval.method == EvalMethod::sliding && eval.stride > context) {
        problems.push_back(concat("eval.stride = ", eval.stride, " leaves out tokens between windows of ",
                                  context, "; use 1 to ", context));
    }
    const index_t least = halves ? 2 * context : 2;
    if (num_tokens < least) {
        problems.push_back(
            concat("eval.text has ", num_tokens, " tokens, and at least ", least, " are needed",
                   halves ? "; take a longer text, a smaller eval.context, or another eval.method" : ""));
    }
    if (!problems.empty()) throw ConfigError(problems);
}

/// The ids of some windows of one length, one after the other.
Ids rows_of(std::span<const EvalWindow> windows, const Ids& ids, std::optional<std::int32_t> first) {
    Ids rows;
    for (const EvalWindow& window : windows) {
        const auto begin = std::ssize(rows);
        rows.insert(rows.end(), ids.begin() + window.tokens.begin, ids.begin() + window.tokens.end);
        if (first) rows[static_cast<std::size_t>(begin)] = *first;
    }
    return rows;
}

/// Sums over the scored tokens.
class Scorer {
  public:
    Scorer(Session& session, const Ids& ids, std::optional<std::int32_t> first)
        : session_(session), ids_(ids), first_(first) {}

    /// Windows of one length, shared over the ranks.
    void add(std::span<const EvalWindow> windows) {
        if (windows.empty()) return;
        const index_t length = windows.front().tokens.size();
        const index_t together = std::max<index_t>(1, kTokensTogether / length);
        const comm::Communicator& world = session_.world();
        const auto count = static_cast<index_t>(windows.size());
        for (index_t done = 0; done < count; done += together * world.size()) {
            const Range all{done, std::min(done + together * world.size(), count)};
            const Range mine = part_of(all.size(), world.size(), world.rank());
            const auto some = part(windows, {all.begin + mine.begin, all.begin + mine.end});
            const std::vector<float> losses =
                session_.transformer().score(rows_of(some, ids_, first_), length, session_.context());
            for (std::size_t i = 0; i < some.size(); ++i) {
                const index_t end = (static_cast<index_t>(i) + 1) * (length - 1);
                const auto scored = part(std::span(losses), {end - some[i].num_scored(), end});
                for (const float loss : scored) {
                    sums_[0].add(static_cast<double>(loss));
                    sums_[1].add(static_cast<double>(loss) * static_cast<double>(loss));
                }
            }
        }
    }

    TextLoss finish(std::span<const EvalWindow> windows, const Tokenizer& tokenizer) {
        comm::all_reduce(session_.world(), std::span<ExactSum>(sums_));
        TextLoss loss;
        loss.num_windows = static_cast<index_t>(windows.size());
        for (const EvalWindow& window : windows) {
            loss.num_scored += window.num_scored();
            for (const std::int32_t id : part(std::span(ids_), {window.first_scored, window.tokens.end}))
                loss.num_bytes += tokenizer.num_bytes(id);
        }
        const auto count = static_cast<double>(loss.num_scored);
        loss.nll = sums_[0].value() / count;
        if (!std::isfinite(loss.nll)) {
            throw Error(concat("eval: the loss on eval.text is ", loss.nll,
                               ", which is no measure of a model: its weights, or what it computes with "
                               "them, are not finite; go back to an earlier checkpoint with --resume"));
        }
        const double variance = sums_[1].value() / count - loss.nll * loss.nll;
        if (variance > 0.0 && loss.num_scored > 1) loss.standard_error = std::sqrt(variance / (count - 1.0));
        return loss;
    }

  private:
    Session& session_;
    const Ids& ids_;
    std::optional<std::int32_t> first_;
    std::vector<ExactSum> sums_ = std::vector<ExactSum>(2);  ///< of losses and of their squares
};

}  // namespace

std::vector<EvalWindow> eval_windows(const EvalConfig& eval, index_t num_tokens, index_t seq_len) {
    check(eval, num_tokens, seq_len);
    const index_t context = context_of(eval, seq_len);
    std::vector<EvalWindow> windows;
    if (eval.method == EvalMethod::llama_cpp) {
        for (index_t begin = 0; begin + context <= num_tokens; begin += context)
            windows.push_back({{begin, begin + context}, begin + context / 2 + 1});
        return windows;
    }
    const index_t half = std::max<index_t>(1, context / 2);
    const index_t stride =
        eval.method == EvalMethod::windows ? context : (eval.stride > 0 ? eval.stride : half);
    index_t scored = 0;
    for (index_t begin = 0; scored < num_tokens; begin += stride) {
        const index_t end = std::min(begin + context, num_tokens);
        const EvalWindow window{{begin, end}, std::max(scored, begin + 1)};
        if (window.num_scored() > 0) windows.push_back(window);
        scored = end;
    }
    return windows;
}

double TextLoss::bits_per_byte() const {
    return nll * static_cast<double>(num_scored) / std::numbers::ln2 / static_cast<double>(num_bytes);
}

std::string TextLoss::text() const {
    std::ostringstream out;
    // Enough digits to compare programs by.
    out << std::setprecision(8) << "perplexity " << perplexity() << " +/- " << perplexity_error() << ", "
        << nll << " nats a token, " << bits_per_byte() << " bits per byte, over " << num_scored
        << " tokens in " << num_windows << " windows";
    return std::move(out).str();
}

TextLoss text_loss(Session& session, const Tokenizer& tokenizer, const std::string& text) {
    const Config& config = session.config();
    if (config.model.architecture != model::Architecture::decoder)
        throw ConfigError("eval.text: only a decoder says how likely a text is; leave eval.text empty");
    const std::span<const std::int32_t> begin = tokenizer.text_begin();
    Ids ids(begin.begin(), begin.end());
    const Ids body = tokenizer.encode(text);
    ids.insert(ids.end(), body.begin(), body.end());
    const std::vector<EvalWindow> windows = eval_windows(config.eval, std::ssize(ids), config.model.seq_len);
    const bool replaces = config.eval.method == EvalMethod::llama_cpp && !begin.empty();
    Scorer scorer(session, ids, replaces ? std::optional(begin.front()) : std::nullopt);
    // All are of one length but perhaps the last ones of sliding windows.
    for (auto first = windows.begin(); first != windows.end();) {
        const auto other = std::find_if(first, windows.end(), [&](const EvalWindow& window) {
            return window.tokens.size() != first->tokens.size();
        });
        scorer.add({first, other});
        first = other;
    }
    return scorer.finish(windows, tokenizer);
}

TextLoss text_loss(Session& session) {
    const TextFile file(session.config().eval.text);
    if (file.num_bytes() > kMostBytes) {
        throw ConfigError(concat("eval.text = ", session.config().eval.text, " has ", file.num_bytes(),
                                 " bytes, and it is held in memory; take a part of at most ", kMostBytes));
    }
    std::string text(static_cast<std::size_t>(file.num_bytes()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text_loss(session, *open_tokenizer(session.config()), text);
}

}  // namespace sy::runtime
