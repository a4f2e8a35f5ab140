#include "runtime/generate/generate.hpp"

#include "runtime/data/open_tokenizer.hpp"
#include "runtime/generate/serve.hpp"
#include "runtime/json/json.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

void fill_all(Session& session, const std::vector<Prompt>& prompts, std::ostream& out) {
    const Config& config = session.config();
    const bool is_encoder = config.model.architecture == model::Architecture::encoder;
    for (std::size_t i = 0; i < prompts.size(); ++i) {
        const std::string& prompt = prompts[i].text;
        const std::string text = is_encoder ? fill_masks(session, prompt) : fill_spans(session, prompt);
        if (session.world().rank() > 0) continue;
        if (config.generate.output == GenerateOutput::text) {
            out << text << std::endl;
        } else {
            out << Json(Json::Object{{"index", static_cast<index_t>(i)},
                                     {"prompt", valid_utf8(prompt)},
                                     {"text", valid_utf8(text)}})
                       .text()
                << std::endl;
        }
    }
}

std::string note_of(const Session& session, const DecodeCounts& counts, const std::string& host_decision) {
    if (!session.rank_device().is_gpu()) return {};
    const std::string steps = concat("generation: ", counts.steps, " steps of next tokens took ",
                                     counts.launches, " launches by the host");
    if (!host_decision.empty())
        return concat(steps, "; they are not captured in CUDA graphs: ", host_decision);
    return concat(steps, ": ", counts.replays, " steps replayed one of ", counts.captured,
                  " captured CUDA graphs");
}

}  // namespace

std::string generate(Session& session, std::ostream& out) {
    const Config& config = session.config();
    const std::vector<Prompt> prompts = read_prompts(config.generate);
    if (config.model.architecture != model::Architecture::decoder) {
        fill_all(session, prompts, out);
        const bool has_steps = config.model.architecture == model::Architecture::encoder_decoder;
        return has_steps && session.rank_device().is_gpu()
                   ? "generation: steps of a decoder that reads an encoder's output are not captured in CUDA "
                     "graphs"
                   : std::string();
    }
    const std::unique_ptr<Tokenizer> tokenizer = open_tokenizer(config);
    const GenerationWork work{*tokenizer, prompt_tokens(prompts, *tokenizer, config),
                              stop_strings(config.generate.stop)};
    ResultWriter writer(out, config.generate, prompts);
    const bool writes = session.world().rank() == 0;
    const DecodeCounts counts = serve(session, work, writes ? &writer : nullptr);
    if (writes) writer.flush();
    return note_of(session, counts, session.transformer().host_decision());
}

}  // namespace sy::runtime
