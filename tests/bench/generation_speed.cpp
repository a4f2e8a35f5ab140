// How fast a checkpoint reads a prompt and goes on from it, on one rank. Called by tests/bench/interop.
//   generation_speed CHECKPOINT DTYPE THREADS ROUNDS PROMPT_TOKENS TOKENS
// Prints one JSON object: the fastest round's tokens a second of both phases, the first round's of the prompt, and the
// tokens, each the likeliest.
#include <algorithm>
#include <chrono>
#include <iostream>

#include "comm/local/local_fabric.hpp"
#include "runtime/json/json.hpp"
#include "runtime/train/session.hpp"

namespace {

using namespace sy;
using namespace sy::runtime;
using Ids = std::vector<std::int32_t>;

struct Speed {
    double first_prefill_seconds = 0.0;
    double prefill_seconds = 1e30;
    double generation_seconds = 1e30;
    Ids tokens;
};

/// The prompt that the other programs are given as well.
Ids prompt_of(index_t length) {
    Ids ids;
    for (index_t i = 0; i < length; ++i) ids.push_back(narrow<std::int32_t>((i * i * 7 + i * 31 + 65) % 256));
    return ids;
}

double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::int32_t likeliest(const Tensor& logits) {
    const auto row = logits.values<float>();
    return narrow<std::int32_t>(std::ranges::max_element(row) - row.begin());
}

void run_round(Session& session, const Ids& prompt, index_t num_tokens, Speed& best) {
    const model::Transformer& transformer = session.transformer();
    const Context& context = session.context();
    auto state = transformer.start_generation(1, std::ssize(prompt) + num_tokens, context);
    const double start = seconds();
    Ids tokens{
        likeliest(transformer.prefill(prompt, 0, model::Transformer::LogitRows::last, state, context))};
    const double read = seconds();
    for (index_t i = 1; i <= num_tokens; ++i)
        tokens.push_back(likeliest(transformer.decode(std::span(tokens).last(1), state, context)));
    if (best.tokens.empty()) best.first_prefill_seconds = read - start;
    best.prefill_seconds = std::min(best.prefill_seconds, read - start);
    best.generation_seconds = std::min(best.generation_seconds, seconds() - read);
    best.tokens = std::move(tokens);
}

void measure(const std::vector<std::string>& words) {
    const CheckpointReader reader(words[0]);
    Config config = parse_config(reader.manifest().config, "the checkpoint's settings");
    config.model.dtype = words[1] == "bf16" ? DType::bf16 : DType::f32;
    config.parallel.threads = std::stol(words[2]);
    const Ids prompt = prompt_of(std::stol(words[4]));
    const index_t num_tokens = std::stol(words[5]);
    comm::LocalFabric(1).run([&](comm::Communicator& alone) {
        Session session(config, alone, Session::Purpose::infer);
        session.restore(reader);
        Speed best;
        for (long round = 0; round < std::stol(words[3]); ++round)
            run_round(session, prompt, num_tokens, best);
        std::cout << Json(Json::Object{
                              {"first_prefill",
                               static_cast<double>(prompt.size()) / best.first_prefill_seconds},
                              {"prefill", static_cast<double>(prompt.size()) / best.prefill_seconds},
                              {"generation", static_cast<double>(num_tokens) / best.generation_seconds},
                              {"tokens", json_array(best.tokens)}})
                         .text()
                  << "\n";
        session.close();
    });
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() != 6) {
        std::cerr << "generation_speed CHECKPOINT DTYPE THREADS ROUNDS PROMPT_TOKENS TOKENS\n";
        return 2;
    }
    try {
        measure(words);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}
