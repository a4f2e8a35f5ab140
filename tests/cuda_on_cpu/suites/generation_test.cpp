// Generation on GPUs: steps of next tokens that are captured in CUDA graphs, against steps that are not, and against
// processors.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <sstream>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/host_view.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/train/session.hpp"

namespace sy::test {
namespace {

using runtime::Config;
using Ids = std::vector<std::int32_t>;

constexpr const char* kSmall = R"(
[model]
hidden = 16
layers = 2
heads = 4
seq_len = 24
vocab_size = 272
[moe]
experts = 8
expert_width = 8
[parallel]
threads = 1
)";

struct Named {
    const char* name;
    const char* settings;
};

/// What differs in what a step reads and in what it computes.
constexpr std::array kModels{
    Named{"top_k", "[model]\nkv_heads = 1\n[moe]\nlayers = all\nshared_experts = 1\n"},
    Named{"dense", "[moe]\nlayers = none\n"},
    Named{"group_limited, bf16, fp8 rows",
          "[model]\ndtype = bf16\n[moe]\nlayers = all\nrouter = group_limited\nscore = sigmoid\ntop_k = 4\n"
          "groups = 4\ngroup_limit = 2\ngroup_score = top_sum\nrouted_scale = 2.5\nwire = fp8\n[balance]\n"
          "switch_loss = 0\nbias_rate = 0.01\n"},
    Named{"latent attention",
          "[attention]\nkind = latent\nkv_rank = 12\nrope_dim = 4\n[moe]\n"
          "layers = all\n"},
    Named{"ALiBi, windows, bf16 rows",
          "[position]\nkind = alibi\n[attention]\nwindow = 4\n[moe]\nlayers = all\nwire = bf16\n"},
    Named{"T5's buckets", "[position]\nkind = t5\n[moe]\nlayers = all\nshared_experts = 2\n"},
    Named{"learned positions, one choice", "[position]\nkind = learned\n[moe]\nlayers = all\ntop_k = 1\n"},
};

Config small(const std::string& settings) {
    return runtime::parse_config(kSmall + settings, "settings");
}

void on_ranks(int num_ranks, DeviceKind device, Config config,
              const std::function<void(runtime::Session&)>& body) {
    config.parallel.device = device;
    comm::LocalFabric(num_ranks).run([&](comm::Communicator& world) {
        runtime::Session session(config, world);
        body(session);
        session.close();
    });
}

/// Logits of one step, a row for each sequence that was fed.
using Logits = std::vector<std::vector<float>>;

Logits rows_of(const Tensor& logits, const Context& context) {
    const HostValues read(HostRead::logits, {logits}, context);
    const auto rows = host<const float>(read[0]);
    Logits result;
    for (index_t row = 0; row < rows.rows; ++row)
        result.emplace_back(rows.row_span(row).begin(), rows.row_span(row).end());
    return result;
}

std::int32_t likeliest(const std::vector<float>& logits) {
    return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

enum class Capture { yes, no };

/// What a generation gave and what it took.
struct Generated {
    std::vector<Logits> steps;
    std::vector<index_t> launches;  ///< by the host, of each step
    index_t captured = 0;
    index_t replays = 0;
};

/// Three prompts of different lengths, of which one ends earlier and another begins in its slot later.
Generated generate_with(runtime::Session& session, Capture capture) {
    const model::Transformer& transformer = session.transformer();
    const Context& context = session.context();
    const auto* const launching = dynamic_cast<const GraphDevice*>(&context.device);
    model::Transformer::Generation state = transformer.start_generation(3, 24, context);
    if (capture == Capture::no) state.graphs = nullptr;
    const std::vector<Ids> prompts{{5, 80, 3}, {7}, {1, 2, 3, 4, 5, 6}, {9, 9}};
    std::array<std::int32_t, 3> next{};
    Generated result;
    const auto prefill = [&](std::size_t prompt, index_t slot) {
        const Tensor logits =
            transformer.prefill(prompts[prompt], slot, model::Transformer::LogitRows::last, state, context);
        result.steps.push_back(rows_of(logits, context));
        next[static_cast<std::size_t>(slot)] = likeliest(result.steps.back().front());
    };
    const auto feed = [&](const std::vector<index_t>& slots) {
        Ids ids;
        for (const index_t slot : slots) ids.push_back(next[static_cast<std::size_t>(slot)]);
        const index_t before = launching == nullptr ? 0 : launching->num_launches();
        const Tensor logits = transformer.decode(ids, slots, state, context);
        result.launches.push_back(launching == nullptr ? 0 : launching->num_launches() - before);
        result.steps.push_back(rows_of(logits, context));
        for (std::size_t i = 0; i < slots.size(); ++i)
            next[static_cast<std::size_t>(slots[i])] = likeliest(result.steps.back()[i]);
    };
    for (const index_t slot : {0, 1, 2}) prefill(static_cast<std::size_t>(slot), slot);
    for (int step = 0; step < 4; ++step) feed({0, 1, 2});
    for (int step = 0; step < 4; ++step) feed({2, 0});
    prefill(3, 1);
    for (int step = 0; step < 3; ++step) feed({0, 1, 2});
    if (state.graphs) {
        result.captured = state.graphs->num_captured();
        result.replays = state.graphs->num_replays();
    }
    return result;
}

}  // namespace

TEST_CASE("cuda generation: steps that are replayed give the bits of steps that are not captured",
          "[unit][small]") {
    const Named named = GENERATE(from_range(kModels));
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    INFO(named.name);
    Config config = small(named.settings);
    config.numerics = numerics;
    on_ranks(1, DeviceKind::cuda, config, [&](runtime::Session& session) {
        const Generated expected = generate_with(session, Capture::no);
        const Generated found = generate_with(session, Capture::yes);
        CHECK(found.steps == expected.steps);
        CHECK(expected.captured == 0);
        // One for three sequences, one for two.
        CHECK(found.captured == 2);
        CHECK(found.replays == 7);
        // Two lists, the graph, and the logits that the caller gets.
        for (const std::size_t replayed : {2U, 3U, 6U, 7U, 8U, 9U, 10U}) {
            CHECK(found.launches[replayed] == 4);
            CHECK(expected.launches[replayed] > 20);
        }
    });
}

TEST_CASE("cuda generation: GPUs give what processors give", "[unit]") {
    const Named named = GENERATE(kModels[0], kModels[3], kModels[4], kModels[5]);
    INFO(named.name);
    Generated expected, found;
    on_ranks(1, DeviceKind::cpu, small(named.settings),
             [&](runtime::Session& session) { expected = generate_with(session, Capture::yes); });
    on_ranks(1, DeviceKind::cuda, small(named.settings),
             [&](runtime::Session& session) { found = generate_with(session, Capture::yes); });
    CHECK(expected.captured == 0);
    CHECK(found.replays > 0);
    REQUIRE(found.steps.size() == expected.steps.size());
    for (std::size_t step = 0; step < expected.steps.size(); ++step) {
        for (std::size_t row = 0; row < expected.steps[step].size(); ++row) {
            INFO("step " << step << ", row " << row);
            for (std::size_t i = 0; i < expected.steps[step][row].size(); ++i)
                REQUIRE(found.steps[step][row][i] ==
                        Approx(expected.steps[step][row][i]).epsilon(1e-4).margin(1e-4));
        }
    }
}

TEST_CASE("cuda generation: what the host decides within a step is not captured, and its bits are the same",
          "[unit]") {
    Config config = small(kModels[0].settings);
    config.numerics = NumericsMode::reproducible;
    Generated alone;
    on_ranks(1, DeviceKind::cuda, config, [&](runtime::Session& session) {
        CHECK(session.transformer().host_decision().empty());
        alone = generate_with(session, Capture::yes);
    });
    on_ranks(2, DeviceKind::cuda, config, [&](runtime::Session& session) {
        CHECK_THAT(session.transformer().host_decision(), Catch::Contains("experts are on several ranks"));
        const Generated found = generate_with(session, Capture::yes);
        if (session.world().rank() > 0) return;
        CHECK(found.captured == 0);
        CHECK(found.steps == alone.steps);
    });
    // Ranks that have all experts each capture.
    config.parallel.expert_parallel = 1;
    on_ranks(2, DeviceKind::cuda, config, [&](runtime::Session& session) {
        CHECK(session.transformer().host_decision().empty());
        const Generated found = generate_with(session, Capture::yes);
        if (session.world().rank() > 0) return;
        CHECK(found.replays == 7);
        CHECK(found.steps == alone.steps);
    });
    on_ranks(1, DeviceKind::cuda, small("[moe]\nlayers = all\nrouter = hash\n[balance]\nswitch_loss = 0\n"),
             [&](runtime::Session& session) {
                 session.transformer().set_token_counts(std::vector<index_t>(272, 1));
                 CHECK_THAT(session.transformer().host_decision(), Catch::Contains("a table of token ids"));
                 CHECK(generate_with(session, Capture::yes).captured == 0);
             });
}

TEST_CASE("cuda generation: a prompt becomes the text of processors, with a note on what was captured",
          "[unit]") {
    Config config = small(kModels[0].settings);
    config.generate.prompt = "wagons";
    config.generate.tokens = 9;
    config.generate.temperature = 0.0;
    const auto generated = [&](DeviceKind device, int num_ranks) {
        std::pair<std::string, std::string> text_and_note;
        on_ranks(num_ranks, device, config, [&](runtime::Session& session) {
            std::ostringstream out;
            const std::string note = runtime::generate(session, out);
            if (session.world().rank() == 0) text_and_note = {std::move(out).str(), note};
        });
        return text_and_note;
    };
    const auto [wanted, no_note] = generated(DeviceKind::cpu, 1);
    CHECK(no_note.empty());
    const auto [text, note] = generated(DeviceKind::cuda, 1);
    CHECK(text == wanted);
    CHECK_THAT(note, Catch::Contains("8 steps of next tokens") &&
                         Catch::Contains("6 steps replayed one of 1 captured CUDA graphs"));
    CHECK_THAT(generated(DeviceKind::cuda, 2).second,
               Catch::Contains("not captured in CUDA graphs: experts are on"));
}

}  // namespace sy::test
