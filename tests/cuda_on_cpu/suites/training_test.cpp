// Training as the program does it on GPUs: the module is loaded from SWITCHYARD_CUDA_MODULE, which is the one for the
// emulation, and ranks that are threads take a GPU each.
#include <dlfcn.h>

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/philox.hpp"
#include "model/families/preset.hpp"
#include "runtime/train/step.hpp"
#include "tests/cuda_on_cpu/module/probes.hpp"

namespace sy::test {
namespace {

using runtime::Config;

/// eps is above what rounding leaves of a gradient that is zero, which AdamW would else make a whole step of.
constexpr const char* kSmall = R"(
[model]
hidden = 16
layers = 2
heads = 2
kv_heads = 1
seq_len = 8
vocab_size = 64
[moe]
layers = all
experts = 8
expert_width = 8
shared_experts = 1
[train]
global_batch = 4
[optimizer]
warmup_steps = 2
lr = 1e-3
eps = 1e-4
[parallel]
threads = 1
)";

Config small(const std::string& settings) {
    return runtime::parse_config(kSmall + settings, "settings");
}

struct Named {
    const char* name;
    const char* settings;
};

/// Every router, with the losses, noises and capacities that go with it.
constexpr std::array kRouters{
    Named{"top_k", "[moe]\ncapacity_factor = 1\ndrop_by = score\njitter = 0.05\n[balance]\nz_loss = 0.01\n"},
    Named{"top_k with noise",
          "[moe]\nnoise = learned\nwire = fp8\n[balance]\nload_loss = 0.05\n"
          "importance_loss = 0.05\n"},
    Named{"group_limited",
          "[moe]\nrouter = group_limited\nscore = sigmoid\ntop_k = 4\ngroups = 4\ngroup_limit = 2\n"
          "group_score = top_sum\nrouted_scale = 2.5\n[balance]\nswitch_loss = 0\nbias_rate = 0.01\n"
          "sequence_loss = 0.1\n"},
    Named{"group_limited with budgets",
          "[moe]\nrouter = group_limited\ntop_k = 4\ngroups = 4\ngroup_limit = 2\ndevice_capacity = 1\n"
          "expert_dropout = 0.1\n[balance]\ndevice_loss = 0.05\ncommunication_loss = 0.02\n"},
    Named{"expert_choice",
          "[moe]\nrouter = expert_choice\nallow_noncausal = yes\n[balance]\nswitch_loss = 0\n"},
    Named{"base", "[moe]\nrouter = base\ntop_k = 1\n[balance]\nswitch_loss = 0\n"},
    Named{"sinkhorn", "[moe]\nrouter = sinkhorn\n[balance]\nswitch_loss = 0\n"},
    Named{"reinforce",
          "[moe]\nrouter = reinforce\n[balance]\nswitch_loss = 0\nentropy_bonus = 0.01\n"
          "baseline_loss = 0.1\n"},
    Named{"hash", "[moe]\nrouter = hash\n[balance]\nswitch_loss = 0\n"},
};

/// What the steps of a run gave.
struct History {
    std::vector<double> loss;
    std::vector<double> norm;
    std::vector<std::uint64_t> routing;
    bool operator==(const History&) const = default;
};

using AfterStep = std::function<void(runtime::Session& session, index_t step)>;

runtime::MicroBatch random_batch(const runtime::Session& session, index_t step) {
    const Config& config = session.config();
    const Range mine = part_of(config.train.global_batch, session.world().size(), session.world().rank());
    runtime::MicroBatch batch;
    for (index_t i = mine.begin * (config.model.seq_len + 1); i < mine.end * (config.model.seq_len + 1);
         ++i) {
        const float u = uniform({9, static_cast<std::uint64_t>(step), 0, RandomPurpose::test},
                                static_cast<std::uint64_t>(i));
        batch.ids.push_back(static_cast<std::int32_t>(u * static_cast<float>(config.model.vocab_size)));
    }
    batch.info = {
        mine.begin * config.model.seq_len, config.train.global_batch * config.model.seq_len, step, 0, 1, {}};
    return batch;
}

History train_on(DeviceKind device, int num_ranks, Config config, index_t num_steps,
                 const AfterStep& after_step = {}) {
    config.parallel.device = device;
    History history;
    comm::LocalFabric(num_ranks).run([&](comm::Communicator& world) {
        runtime::Session session(config, world);
        session.transformer().set_token_counts(
            std::vector<index_t>(static_cast<std::size_t>(config.model.vocab_size), 1));
        runtime::PhaseTimer timer(runtime::steady_seconds, [] { return 0.0; });
        for (index_t step = 1; step <= num_steps; ++step) {
            const runtime::StepOutcome outcome = runtime::run_step(
                session, [&](index_t) { return random_batch(session, step); }, step, timer);
            if (after_step) after_step(session, step);
            if (world.rank() != num_ranks - 1) continue;
            history.loss.push_back(outcome.pass.total);
            history.norm.push_back(outcome.update.gradient_norm);
            history.routing.push_back(outcome.pass.routing_hash);
        }
        session.close();
    });
    return history;
}

/// Rounding makes little of a difference, and none in what is chosen.
void check_near(const History& found, const History& expected) {
    CHECK(found.routing == expected.routing);
    REQUIRE(found.loss.size() == expected.loss.size());
    for (std::size_t step = 0; step < expected.loss.size(); ++step) {
        INFO("step " << step + 1);
        CHECK(found.loss[step] == Approx(expected.loss[step]).epsilon(1e-5));
        CHECK(found.norm[step] == Approx(expected.norm[step]).epsilon(1e-3));
    }
}

sy::emulation::Counters& emulation_counters() {
    const char* const path = std::getenv("SWITCHYARD_CUDA_MODULE");
    REQUIRE(path != nullptr);
    void* const module = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    REQUIRE(module != nullptr);
    auto* const counters = reinterpret_cast<decltype(&switchyard_emulation_counters)>(
        dlsym(module, "switchyard_emulation_counters"));
    REQUIRE(counters != nullptr);
    return *counters();
}

}  // namespace

TEST_CASE("cuda training: every router chooses and learns on one GPU and on two as on processors",
          "[unit][routers]") {
    const Named router = GENERATE(from_range(kRouters));
    INFO(router.name);
    Config config = small(router.settings);
    // A library's order of sums may tip what is as good as a tie.
    config.numerics = NumericsMode::reproducible;
    const History expected = train_on(DeviceKind::cpu, 1, config, 2);
    CHECK(expected.loss.back() != expected.loss.front());
    for (const int num_ranks : {1, 2}) {
        INFO(num_ranks << " GPUs");
        check_near(train_on(DeviceKind::cuda, num_ranks, config, 2), expected);
    }
}

TEST_CASE("cuda training: in reproducible mode any number of GPUs gives the same bits", "[unit][small]") {
    const Named router = GENERATE(kRouters[0], kRouters[2]);
    INFO(router.name);
    Config config = small(router.settings);
    config.numerics = NumericsMode::reproducible;
    const History alone = train_on(DeviceKind::cuda, 1, config, 2);
    check_near(alone, train_on(DeviceKind::cpu, 1, config, 2));
    CHECK(train_on(DeviceKind::cuda, 2, config, 2) == alone);
    CHECK(train_on(DeviceKind::cuda, 4, config, 2) == alone);
    config.parallel.expert_parallel = 2;
    CHECK(train_on(DeviceKind::cuda, 4, config, 2) == alone);
}

TEST_CASE(
    "cuda training: from the third step on the host waits for nothing but its counted reads, and nothing is "
    "allocated",
    "[unit][small]") {
    using Reads = std::array<index_t, kHostReads.size()>;
    const auto reads_of_steps = [](DeviceKind device, const AfterStep& also) {
        std::vector<Reads> reads;
        train_on(device, 1, small(kRouters[0].settings), 6, [&](runtime::Session& session, index_t step) {
            Reads& now = reads.emplace_back();
            for (std::size_t i = 0; i < now.size(); ++i)
                now[i] = session.context().device.num_reads(kHostReads[i]);
            if (also) also(session, step);
        });
        return reads;
    };
    std::vector<sy::emulation::Counters> counters;
    const std::vector<Reads> reads = reads_of_steps(
        DeviceKind::cuda, [&](runtime::Session&, index_t) { counters.push_back(emulation_counters()); });
    CHECK(reads == reads_of_steps(DeviceKind::cpu, {}));
    for (std::size_t step = 3; step < counters.size(); ++step) {
        INFO("step " << step + 1);
        const sy::emulation::Counters& now = counters[step];
        const sy::emulation::Counters& before = counters[step - 1];
        CHECK(now.num_allocations == before.num_allocations);
        CHECK(now.num_host_waits == before.num_host_waits);
        CHECK(now.num_default_stream_calls == before.num_default_stream_calls);
        CHECK(now.num_launches - before.num_launches ==
              before.num_launches - counters[step - 2].num_launches);
    }
}

// Left out unless asked for: the tag begins with a dot.
TEST_CASE("cuda training: every preset in small learns on GPUs as on processors", "[.presets]") {
    for (const model::Preset& preset : model::presets()) {
        INFO(preset.name);
        Config config = small("");
        config.model = preset.model;
        config.moe = preset.moe;
        model::scale_down(config.model, config.moe);
        const History expected = train_on(DeviceKind::cpu, 1, config, 2);
        for (const int num_ranks : {1, 2}) {
            INFO(num_ranks << " GPUs");
            check_near(train_on(DeviceKind::cuda, num_ranks, config, 2), expected);
        }
    }
}

}  // namespace sy::test
