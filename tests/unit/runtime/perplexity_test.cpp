// The loss of a text, cut into windows as other programs cut it.
#include <catch2/catch.hpp>

#include "runtime/data/open_tokenizer.hpp"
#include "runtime/eval/perplexity.hpp"
#include "tests/unit/runtime/run_fixture.hpp"

using namespace sy;
using namespace sy::runtime;
using test::small_config;
using test::TestFolder;

namespace {

struct Cut {
    index_t begin, end, first_scored;
    bool operator==(const Cut&) const = default;
};

std::vector<Cut> cuts(const EvalConfig& eval, index_t num_tokens) {
    std::vector<Cut> result;
    for (const EvalWindow& window : eval_windows(eval, num_tokens, 8))
        result.push_back({window.tokens.begin, window.tokens.end, window.first_scored});
    return result;
}

TextLoss loss_on(const Config& config, const std::string& text, int ranks = 1) {
    TextLoss loss;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        Session session(config, world);
        const TextLoss found = text_loss(session, *open_tokenizer(config), text);
        if (world.rank() == 0) loss = found;
        session.close();
    });
    return loss;
}

const std::string kText = "the 4 wagons are sorted onto track 2\nthe 9 wagons are sorted onto track 3\n";

}  // namespace

TEST_CASE("perplexity: windows are cut and scored as each method says", "[unit]") {
    EvalConfig eval;
    CHECK(cuts(eval, 18) == std::vector<Cut>{{0, 8, 1}, {8, 16, 9}, {16, 18, 17}});
    // One token alone has nothing before it.
    CHECK(cuts(eval, 17) == std::vector<Cut>{{0, 8, 1}, {8, 16, 9}});
    eval.method = EvalMethod::llama_cpp;
    CHECK(cuts(eval, 18) == std::vector<Cut>{{0, 8, 5}, {8, 16, 13}});
    eval.method = EvalMethod::sliding;
    CHECK(cuts(eval, 18) == std::vector<Cut>{{0, 8, 1}, {4, 12, 8}, {8, 16, 12}, {12, 18, 16}});
    eval.stride = 3;
    CHECK(cuts(eval, 12) == std::vector<Cut>{{0, 8, 1}, {3, 11, 8}, {6, 12, 11}});
    eval.context = 4;
    CHECK(cuts(eval, 5) == std::vector<Cut>{{0, 4, 1}, {3, 5, 4}});
}

TEST_CASE("perplexity: settings that make no sense are refused together", "[unit]") {
    EvalConfig eval;
    eval.method = EvalMethod::sliding;
    eval.context = 9;
    eval.stride = 10;
    CHECK_THROWS_WITH(eval_windows(eval, 1, 8),
                      Catch::Contains("eval.context = 9 tokens for a model.seq_len of 8") &&
                          Catch::Contains("eval.stride = 10 leaves out tokens") &&
                          Catch::Contains("eval.text has 1 tokens, and at least 2"));
    eval = {};
    eval.method = EvalMethod::llama_cpp;
    CHECK_THROWS_WITH(eval_windows(eval, 15, 8), Catch::Contains("at least 16 are needed; take a longer"));
}

TEST_CASE("perplexity: the loss is the mean over scored tokens, on any number of ranks", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    for (const EvalMethod method : {EvalMethod::windows, EvalMethod::llama_cpp, EvalMethod::sliding}) {
        config.eval.method = method;
        const auto ids = make_tokenizer("bytes")->encode(kText);
        double sum = 0.0;
        double squares = 0.0;
        double count = 0.0;
        comm::LocalFabric(1).run([&](comm::Communicator& world) {
            Session session(config, world);
            for (const EvalWindow& window : eval_windows(config.eval, std::ssize(ids), 16)) {
                // Token by token, through the cache.
                auto state = session.transformer().start_generation(1, 16, session.context());
                for (index_t t = window.tokens.begin; t + 1 < window.tokens.end; ++t) {
                    const Tensor logits = session.transformer().decode(
                        std::span(ids).subspan(static_cast<std::size_t>(t), 1), state, session.context());
                    if (t + 1 < window.first_scored) continue;
                    double total = 0.0;
                    for (const float x : logits.values<float>()) total += std::exp(static_cast<double>(x));
                    const auto target = static_cast<std::size_t>(ids[static_cast<std::size_t>(t) + 1]);
                    const double loss = std::log(total) - static_cast<double>(logits.values<float>()[target]);
                    sum += loss;
                    squares += loss * loss;
                    ++count;
                }
            }
            session.close();
        });
        const TextLoss loss = loss_on(config, kText);
        CHECK(static_cast<double>(loss.num_scored) == count);
        CHECK(loss.num_bytes == loss.num_scored);
        CHECK(loss.nll == Approx(sum / count).epsilon(1e-6));
        const double variance = squares / count - sum / count * sum / count;
        CHECK(loss.standard_error == Approx(std::sqrt(variance / (count - 1))).epsilon(1e-3));
        CHECK(loss.bits_per_byte() == Approx(loss.nll / std::log(2.0)));
        for (const int ranks : {2, 3}) {
            const TextLoss other = loss_on(config, kText, ranks);
            CHECK(other.nll == loss.nll);
            CHECK(other.standard_error == loss.standard_error);
        }
    }
}

TEST_CASE("perplexity: an encoder has none", "[unit]") {
    const TestFolder folder;
    Config config = small_config(folder);
    config.model.vocab_size = 280;
    config.model.architecture = model::Architecture::encoder;
    CHECK_THROWS_WITH(loss_on(config, kText), Catch::Contains("only a decoder says how likely a text is"));
}
