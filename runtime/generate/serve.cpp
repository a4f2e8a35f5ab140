#include "runtime/generate/serve.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/offsets.hpp"
#include "runtime/generate/continuation.hpp"
#include "runtime/generate/sampler.hpp"

namespace sy::runtime {
namespace {

using Ids = std::vector<std::int32_t>;

/// A sequence in a slot.
struct Active {
    GenerationResult result;
    Ids ids;  ///< prompt and all that is generated
    Continuation continuation;
};

bool is_free(const std::optional<Active>& slot) {
    return !slot.has_value();
}

class Server {
  public:
    Server(Session& session, const GenerationWork& work, ResultWriter* writer)
        : session_(session),
          work_(work),
          rule_(session.config().generate),
          writer_(writer),
          slots_(static_cast<std::size_t>(
              std::min<index_t>(rule_.batch, static_cast<index_t>(work.prompts.size())))) {
        std::size_t longest = 0;
        for (const Ids& prompt : work.prompts) longest = std::max(longest, prompt.size());
        state_ = session.transformer().start_generation(static_cast<index_t>(slots_.size()),
                                                        static_cast<index_t>(longest) + rule_.tokens,
                                                        session.context());
    }

    void run() {
        for (;;) {
            const std::vector<index_t> free = agree();
            if (next_ == work_.prompts.size() && num_free(free) == num_slots()) return;
            const std::vector<std::vector<std::size_t>> given = deal(free);
            std::size_t rounds = 0;
            for (const std::vector<std::size_t>& prompts : given) rounds = std::max(rounds, prompts.size());
            const std::vector<std::size_t>& mine = given[static_cast<std::size_t>(session_.world().rank())];
            for (std::size_t round = 0; round < rounds; ++round)
                prefill(round < mine.size() ? std::optional(mine[round]) : std::nullopt);
            decode();
        }
    }

    DecodeCounts counts() const {
        DecodeCounts counts = counts_;
        if (state_.graphs) {
            counts.captured = state_.graphs->num_captured();
            counts.replays = state_.graphs->num_replays();
        }
        return counts;
    }

  private:
    index_t num_launches() const {
        const auto* const device = dynamic_cast<const GraphDevice*>(&session_.context().device);
        return device == nullptr ? 0 : device->num_launches();
    }
    index_t num_slots() const { return static_cast<index_t>(slots_.size()) * session_.world().size(); }
    static index_t num_free(const std::vector<index_t>& free) {
        return std::accumulate(free.begin(), free.end(), index_t{0});
    }

    /// Tells rank 0 what has finished, and everyone how many slots each rank has free.
    std::vector<index_t> agree() {
        const index_t mine[] = {std::ranges::count_if(slots_, is_free), std::ssize(finished_)};
        const std::vector<index_t> all = comm::all_gather(session_.world(), std::span<const index_t>(mine));
        std::vector<index_t> free;
        bool any_finished = false;
        for (std::size_t i = 0; i < all.size(); i += 2) {
            free.push_back(all[i]);
            any_finished = any_finished || all[i + 1] > 0;
        }
        if (!any_finished) return free;
        const std::vector<std::string> messages = comm::all_gather(session_.world(), to_message(finished_));
        finished_.clear();
        if (writer_ == nullptr) return free;
        for (const std::string& message : messages) {
            for (const GenerationResult& result : from_message(message))
                writer_->add(result, text_of(result));
        }
        return free;
    }

    /// The text of a result, which is not sent: it follows from the tokens.
    std::string text_of(const GenerationResult& result) const {
        const Ids& prompt = work_.prompts[static_cast<std::size_t>(result.prompt_idx)];
        Continuation continuation(work_.tokenizer, prompt, work_.stops);
        const std::size_t unwritten = result.finish == FinishReason::end ? 1 : 0;
        for (std::size_t i = 0; i + unwritten < result.tokens.size(); ++i) continuation.add(result.tokens[i]);
        return continuation.text();
    }

    /// The next prompts for free slots, one to each rank in turn; the same on every rank.
    std::vector<std::vector<std::size_t>> deal(std::vector<index_t> free) {
        std::vector<std::vector<std::size_t>> given(free.size());
        while (next_ < work_.prompts.size() && num_free(free) > 0) {
            for (std::size_t rank = 0; rank < free.size() && next_ < work_.prompts.size(); ++rank) {
                if (free[rank] == 0) continue;
                --free[rank];
                given[rank].push_back(next_++);
            }
        }
        return given;
    }

    void prefill(std::optional<std::size_t> prompt) {
        const auto slot = std::ranges::find_if(slots_, is_free);
        const Ids none;
        const Ids& ids = prompt ? work_.prompts[*prompt] : none;
        const auto wanted =
            rule_.prompt_logprobs ? model::Transformer::LogitRows::all : model::Transformer::LogitRows::last;
        const Tensor logits = session_.transformer().prefill(ids, prompt ? slot - slots_.begin() : 0, wanted,
                                                             state_, session_.context());
        if (!prompt) return;
        slot->emplace(Active{{}, ids, Continuation(work_.tokenizer, ids, work_.stops)});
        (*slot)->result.prompt_idx = static_cast<index_t>(*prompt);
        const HostValues read(HostRead::logits, {logits}, session_.context());
        const auto rows = host<const float>(read[0]);
        if (rule_.prompt_logprobs) {
            (*slot)->result.prompt_logprobs.push_back(std::numeric_limits<double>::quiet_NaN());
            for (std::size_t i = 1; i < ids.size(); ++i) {
                const auto row = rows.row_span(static_cast<index_t>(i) - 1);
                (*slot)->result.prompt_logprobs.push_back(log_probability(row, ids[i]));
            }
        }
        advance(*slot, rows.row_span(rows.rows - 1));
    }

    /// One more token for every sequence of this rank.
    void decode() {
        Ids ids;
        std::vector<index_t> slots;
        for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
            if (!slots_[slot]) continue;
            ids.push_back(slots_[slot]->ids.back());
            slots.push_back(static_cast<index_t>(slot));
        }
        const index_t launches_before = num_launches();
        const Tensor logits = session_.transformer().decode(ids, slots, state_, session_.context());
        counts_.launches += num_launches() - launches_before;
        counts_.steps += ids.empty() ? 0 : 1;
        const HostValues read(HostRead::logits, {logits}, session_.context());
        const auto rows = host<const float>(read[0]);
        for (std::size_t i = 0; i < slots.size(); ++i)
            advance(slots_[static_cast<std::size_t>(slots[i])], rows.row_span(static_cast<index_t>(i)));
    }

    /// Chooses the token behind a sequence, and frees the slot when that ends it.
    void advance(std::optional<Active>& slot, std::span<const float> logits) {
        Active& active = *slot;
        GenerationResult& result = active.result;
        const auto known = part(logits, {0, work_.tokenizer.vocab_size()});
        const auto position = static_cast<index_t>(active.ids.size()) - 1;
        const auto id =
            narrow<std::int32_t>(sample_token_at(known, active.ids, rule_, {result.prompt_idx, position}));
        active.ids.push_back(id);
        result.tokens.push_back(id);
        result.logprobs.push_back(log_probability(logits, id));
        bool over = true;
        if (id == work_.tokenizer.end_of_text()) {
            result.finish = FinishReason::end;
        } else if (active.continuation.add(id)) {
            result.finish = FinishReason::stop;
        } else {
            result.finish = FinishReason::length;
            over = static_cast<index_t>(result.tokens.size()) == rule_.tokens;
        }
        if (writer_ != nullptr && !over) {
            const Continuation& text = active.continuation;
            writer_->show(result.prompt_idx, std::string_view(text.text()).substr(0, text.num_settled()));
        }
        if (!over) return;
        finished_.push_back(std::move(result));
        slot.reset();
    }

    Session& session_;
    const GenerationWork& work_;
    const GenerateConfig& rule_;
    ResultWriter* writer_;
    std::vector<std::optional<Active>> slots_;
    std::vector<GenerationResult> finished_;  ///< not yet told
    std::size_t next_ = 0;                    ///< prompt
    model::Transformer::Generation state_;
    DecodeCounts counts_;
};

}  // namespace

DecodeCounts serve(Session& session, const GenerationWork& work, ResultWriter* writer) {
    Server server(session, work, writer);
    server.run();
    return server.counts();
}

}  // namespace sy::runtime
