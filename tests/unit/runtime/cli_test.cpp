#include <catch2/catch.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <new>
#include <sstream>
#include <thread>

#include "comm/communicator.hpp"
#include "model/families/preset.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/cli/guarded_main.hpp"
#include "runtime/cli/stop_signal.hpp"
#include "runtime/cli/world.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

/// What a guarded body leaves behind.
struct Outcome {
    int code;
    std::string message;
    std::vector<int> aborts;
};

Outcome guarded(const std::function<int()>& body, int rank = -1) {
    std::ostringstream messages;
    Outcome outcome{};
    Guard guard{rank, "node7", messages, [&](int code) { outcome.aborts.push_back(code); },
                std::chrono::milliseconds(0)};
    outcome.code = guarded_main(body, guard);
    outcome.message = messages.str();
    return outcome;
}

/// Everything that a command prints to standard output.
class CapturedOutput {
  public:
    CapturedOutput() : previous_(std::cout.rdbuf(text_.rdbuf())) {}
    CapturedOutput(const CapturedOutput&) = delete;
    CapturedOutput& operator=(const CapturedOutput&) = delete;
    ~CapturedOutput() { std::cout.rdbuf(previous_); }
    std::string text() const { return text_.str(); }

  private:
    std::ostringstream text_;
    std::streambuf* previous_;
};

int run_words(std::vector<const char*> words) {
    words.insert(words.begin(), "switchyard");
    return run_command_line(words);
}

std::string usage_error(const std::vector<const char*>& words) {
    try {
        run_words(words);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "nothing thrown";
}

std::string output_of(const std::vector<const char*>& words) {
    const CapturedOutput output;
    REQUIRE(run_words(words) == 0);
    return output.text();
}

/// Runs `body` in a child process. @return its wait status
int status_of_child(const std::function<void()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        body();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return status;
}

}  // namespace

TEST_CASE("guarded_main: success passes the body's code on and says nothing", "[unit]") {
    for (const int code : {0, 1, 7}) {
        const Outcome outcome = guarded([&] { return code; });
        CHECK(outcome.code == code);
        CHECK(outcome.message.empty());
        CHECK(outcome.aborts.empty());
    }
}

TEST_CASE("guarded_main: every kind of failure has its exit code, one message, and ends the job once",
          "[unit]") {
    struct Case {
        std::function<void()> fail;
        int code;
        std::string message;
    };
    const std::vector<Case> cases{
        {[] { throw ConfigError("moe.top_k is too high"); }, 2,
         "switchyard, rank 0 on node7: moe.top_k is too high\n"},
        {[] {
             throw ConfigError(std::vector<std::string>{"one", "two"});
         },
         2, "switchyard, rank 0 on node7:\none\ntwo\n"},
        {[] { throw TimeoutError("barrier: nothing after 10 ms"); }, 3,
         "switchyard, rank 0 on node7: barrier: nothing after 10 ms\n"},
        {[] { throw CommError("MPI_Send failed"); }, 3, "switchyard, rank 0 on node7: MPI_Send failed\n"},
        {[] { throw IoError("disk full"); }, 1, "switchyard, rank 0 on node7: disk full\n"},
        {[] { throw LogicError("impossible"); }, 1, "switchyard, rank 0 on node7: impossible\n"},
        {[] { throw std::runtime_error("foreign"); }, 1, "switchyard, rank 0 on node7: foreign\n"},
        {[] { throw std::bad_alloc(); }, 1,
         "switchyard, rank 0 on node7: out of memory; lower model sizes or train.global_batch / "
         "train.accumulation, or "
         "use more ranks\n"},
        {[] { throw 42; }, 1,
         "switchyard, rank 0 on node7: something that is no exception of this program was thrown\n"},
    };
    for (const Case& one : cases) {
        INFO(one.message);
        const Outcome outcome = guarded(
            [&] {
                one.fail();
                return 0;
            },
            0);
        CHECK(outcome.code == one.code);
        CHECK(outcome.message == one.message);
        CHECK(outcome.aborts == std::vector<int>{one.code});
    }
}

TEST_CASE("guarded_main: without a launcher no rank is named and nobody is aborted", "[unit]") {
    std::ostringstream messages;
    const int code = guarded_main([]() -> int { throw Error("broken"); }, {-1, "laptop", messages, {}});
    CHECK(code == 1);
    CHECK(messages.str() == "switchyard on laptop: broken\n");
}

TEST_CASE("guarded_main: higher ranks wait for rank 0 to speak", "[unit]") {
    for (const auto& [rank, waits] : {std::pair{0, false}, {1, true}}) {
        std::ostringstream messages;
        const auto start = std::chrono::steady_clock::now();
        guarded_main([]() -> int { throw Error("broken"); },
                     {rank, "node7", messages, {}, std::chrono::milliseconds(waits ? 30 : 60000)});
        const auto elapsed = std::chrono::steady_clock::now() - start;
        CHECK((elapsed >= std::chrono::milliseconds(30) || !waits));
        CHECK(messages.str().find("broken") != std::string::npos);
    }
}

TEST_CASE("launcher_rank: reads what launchers set, and is -1 without one or for nonsense", "[unit]") {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
        ::unsetenv(name);
    CHECK(launcher_rank() == -1);
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
        ::setenv(name, "12", 1);
        CHECK(launcher_rank() == 12);
        ::setenv(name, "x", 1);
        CHECK(launcher_rank() == -1);
        ::unsetenv(name);
    }
}

TEST_CASE("command line: wrong usage is refused with a remedy, before anything runs", "[unit]") {
    const std::vector<std::pair<std::vector<const char*>, std::string>> cases{
        {{}, "no command given; see switchyard --help"},
        {{"trian"}, "unknown command 'trian'; did you mean train?"},
        {{"cook"}, "unknown command 'cook'; see switchyard --help"},
        {{"help", "plam"}, "unknown command 'plam'; did you mean plan?"},
        {{"train", "--confg", "x"}, "unknown option --confg; did you mean --config?"},
        {{"train", "--conf", "x"}, "unknown option --conf; did you mean --config?"},
        {{"train", "now"}, "train: 1 words after the command; write switchyard train"},
        {{"checkpoint", "verify"},
         "checkpoint: 1 words after the command; write switchyard checkpoint ACTION FOLDER [FOLDER]"},
        {{"checkpoint", "repair", "x"},
         "checkpoint: unknown action 'repair'; write inspect, verify, diff, reshard, upcycle, export or "
         "import"},
        {{"checkpoint", "diff", "x"},
         "checkpoint diff: write switchyard checkpoint diff FOLDER OTHER_FOLDER"},
        {{"checkpoint", "verify", "x", "--ranks", "3"},
         "checkpoint verify: write switchyard checkpoint verify FOLDER"},
        {{"checkpoint", "export", "x", "y"},
         "checkpoint export: write switchyard checkpoint export FOLDER NEW --to hf|gguf [--dtype "
         "f32|bf16|f16|q8_0] [--shard-size BYTES|5GB] [--family NAME] [--with-moments]"},
        {{"checkpoint", "export", "x", "y", "--to", "gguf", "--with-moments"},
         "checkpoint export --to gguf has no place for moments; leave --with-moments out"},
        {{"checkpoint", "verify", "x", "--with-moments"},
         "checkpoint verify: write switchyard checkpoint verify FOLDER"},
        {{"checkpoint", "export", "x", "y", "--to", "onnx"},
         "checkpoint export: unknown format --to onnx; write hf or gguf"},
        {{"checkpoint", "verify", "x", "--dtype", "f16"},
         "checkpoint verify: write switchyard checkpoint verify FOLDER"},
        {{"checkpoint", "upcycle", "x", "y"},
         "checkpoint upcycle: write switchyard checkpoint upcycle FOLDER NEW_FOLDER --config FILE"},
        {{"checkpoint", "inspect", "x", "--set", "moe.top_k=1"},
         "checkpoint inspect: write switchyard checkpoint inspect FOLDER"},
        {{"checkpoint", "reshard", "x", "y"},
         "checkpoint reshard: write switchyard checkpoint reshard FOLDER NEW_FOLDER --ranks N"},
        {{"checkpoint", "reshard", "x", "y", "--ranks", "0"},
         "--ranks: '0' is not a whole number from 1 to 2147483647; try 1"},
        {{"doctor", "--ranks", "3", "--resume", "latest"},
         "doctor does not take --resume\ndoctor does not take --ranks"},
        {{"plan", "--ranks", "10k", "--ranks-per-node", "10000000000", "--grace", "-1"},
         "--ranks: '10k' is not a whole number from 1 to 2147483647; try 10000\n"
         "--ranks-per-node: '10000000000' is not a whole number from 1 to 2147483647; try 2147483647\n"
         "--grace: '-1' is not a number of at least 0; try 0"},
        {{"bench", "layer", "--threads", "few"},
         "--threads: 'few' is not a whole number from 1 to 2147483647"},
        {{"plan", "--recommend", "--nodes", "2", "--ranks", "4"},
         "plan --recommend: give --cores-per-node, 1 or more\nplan --recommend: give --mem-per-node in GiB, "
         "more "
         "than 0\nplan --recommend: several nodes need --network-gbps, what a node sends in Gbit/s\nplan "
         "--recommend chooses for itself; leave --ranks out"},
        {{"plan", "--nodes", "2", "--calibration", "x"},
         "--nodes belongs to plan --recommend\n--calibration belongs to plan --recommend"},
        {{"plan", "--json"}, "plan prints JSON with --recommend alone"},
        {{"bench"},
         "bench: name one benchmark, or give --calibrate FILE without one; see switchyard help bench"},
        {{"train", "--preset", "mixtral-8x7"},
         "--preset mixtral-8x7: there is no such model; did you mean mixtral-8x7b?"},
        {{"plan", "--preset", "chatbot"},
         "--preset chatbot: there is no such model; see switchyard help presets"},
        {{"plan", "--scaled-down"},
         "--scaled-down without --preset: name the model; see switchyard help presets"},
        {{"plan", "--preset", "mixtral-8x7b", "--set", "moe.top_k=9"},
         "moe.top_k = 9 is more than moe.experts = 8; lower it or add experts (moe.top_k from --set)"},
        {{"checkpoint", "verify", "x", "--preset", "dbrx"}, "checkpoint does not take --preset"},
        {{"train", "--set", "moe.top_k=9"},
         "moe.top_k = 9 is more than moe.experts = 8; lower it or add experts (moe.top_k from --set)"},
    };
    for (const auto& [words, problem] : cases) CHECK(usage_error(words) == problem);
}

TEST_CASE("command line: help teaches every command with its options, and the settings", "[unit]") {
    const std::string general = output_of({"--help"});
    CHECK(output_of({"help"}) == general);
    CHECK(general.find("Examples") != std::string::npos);
    CHECK(general.find("Exit codes: 0 good, 1 failed, 2 wrong usage or settings, 3 time-out or lost peer,") !=
          std::string::npos);
    for (const Command& command : commands()) {
        INFO(command.name);
        CHECK(general.find(concat("switchyard ", command.name)) != std::string::npos);
        CHECK(general.find(concat(" ", command.help, "\n")) != std::string::npos);
        const std::string own = output_of({"help", command.name.data()});
        CHECK(output_of({command.name.data(), "--help"}) == own);
        CHECK(own.find(command.help) != std::string::npos);
        CHECK((own.find("--config FILE") != std::string::npos) ==
              (command.options.find("config") != std::string_view::npos));
    }
    CHECK(output_of({"help", "config"}) == config_help());
    CHECK(output_of({"help", "config", "moe"}) == config_help("moe"));
    CHECK(output_of({"help", "presets"}) == presets_help());
}

TEST_CASE("command line: every example in the help is accepted by the parser", "[unit]") {
    for (const Command& command : commands()) {
        if (command.example.empty()) continue;
        INFO(command.example);
        const auto start = command.example.find("switchyard ");
        REQUIRE(start != std::string_view::npos);
        CHECK(command.example.substr(start).starts_with(concat("switchyard ", command.name)));
        std::istringstream words{std::string(command.example.substr(start))};
        std::vector<std::string> kept;
        for (std::string word; words >> word;) kept.push_back(word);
        for (const std::string& word : kept) {
            if (!word.starts_with("--")) continue;
            CHECK(concat(" ", command.options, " ").find(concat(" ", word.substr(2), " ")) !=
                  std::string::npos);
        }
    }
}

TEST_CASE("command line: version and plan answer without a launcher", "[unit]") {
    CHECK(output_of({"version"}).starts_with("switchyard "));
    const std::string plan = output_of({"plan", "--ranks", "4", "--set", "moe.experts=16"});
    CHECK(plan.starts_with("4 ranks, "));
    CHECK(plan.find("note: ") == std::string::npos);
    CHECK_THAT(output_of({"plan", "--set", "moe.capacity_scope=local", "--set", "moe.capacity_factor=1"}),
               Catch::Contains("note: moe.capacity_scope = local: which choices are dropped"));
}

TEST_CASE("command line: a preset is planned, settings win over it, and every preset is listed", "[unit]") {
    const std::string plan = output_of({"plan", "--preset", "deepseek-v3", "--ranks", "256"});
    CHECK(plan.starts_with("256 ranks, expert-parallel 256 x data-parallel 1, 8 a node\n"));
    CHECK(plan.find("682.64 G") != std::string::npos);
    CHECK(plan.find("37.55 G") != std::string::npos);
    const ConfigSources sources{.assignments = {"model.layers=3"}, .preset = "mixtral-8x7b"};
    const Config config = load_config(sources);
    CHECK(config.model.layers == 3);
    CHECK(config.model.hidden == 4096);
    CHECK(config.moe.expert_width == 14336);
    const Config small = load_config({.preset = "mixtral-8x7b", .scaled_down = true});
    CHECK(small.model.hidden == 64);
    CHECK(small.moe.experts == 8);
    CHECK(output_of({"plan", "--scaling-law", "--preset", "switch-base"}).find("*      128") !=
          std::string::npos);
    const std::string table = presets_help();
    for (const model::Preset& preset : model::presets()) {
        INFO(preset.name);
        CHECK(table.find("\n  " + preset.name + " ") != std::string::npos);
        CHECK(output_of({"plan", "--preset", preset.name.c_str()}).starts_with("1 ranks, "));
    }
}

TEST_CASE("with_world: without a launcher there is one rank, and another demand is refused", "[unit]") {
    ParallelConfig parallel;
    int calls = 0;
    with_world(parallel, [&](comm::Communicator& world) {
        CHECK(world.size() == 1);
        CHECK(world.settings().deadline == std::chrono::seconds(120));
        ++calls;
    });
    parallel.ranks = 1;
    with_world(parallel, [&](comm::Communicator&) { ++calls; });
    CHECK(calls == 2);
    parallel.ranks = 4;
    CHECK_THROWS_WITH(
        with_world(parallel, [](comm::Communicator&) { FAIL("must not run"); }),
        "parallel.ranks = 4, but the launcher started 1 ranks; change one, or set parallel.ranks = 0 for any "
        "number");
}

TEST_CASE(
    "stop signal: SIGTERM and SIGUSR1 are noticed, by every later thread, and harm nobody however often",
    "[unit]") {
    for (const int signal : {SIGTERM, SIGUSR1}) {
        const int status = status_of_child([signal] {
            const StopSignal stop;
            if (stop.requested()) ::_exit(1);
            for (int i = 0; i < 1000; ++i) ::kill(::getpid(), signal);
            if (!stop.requested()) ::_exit(2);
            bool noticed = false;
            std::thread([&] { noticed = stop.requested(); }).join();
            if (!noticed) ::_exit(3);
            ::kill(::getpid(), signal == SIGTERM ? SIGUSR1 : SIGTERM);
            if (!stop.requested()) ::_exit(4);
        });
        CHECK(WIFEXITED(status));
        CHECK(WEXITSTATUS(status) == 0);
    }
}

TEST_CASE("stop signal: no handler runs, and none that was there before", "[unit]") {
    const int status = status_of_child([] {
        std::signal(SIGUSR1, [](int) { ::_exit(1); });
        const StopSignal stop;
        std::thread idle([] { std::this_thread::sleep_for(std::chrono::milliseconds(1)); });
        ::kill(::getpid(), SIGUSR1);
        idle.join();
        if (!stop.requested()) ::_exit(2);
    });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE(
    "stop signal: one that came while its sender's block was inherited is noticed; one after its end is "
    "harmless",
    "[unit]") {
    const int status = status_of_child([] {
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, nullptr);
        ::kill(::getpid(), SIGTERM);
        {
            const StopSignal stop;
            if (!stop.requested()) ::_exit(1);
        }
        ::kill(::getpid(), SIGUSR1);
    });
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("stop signal: without one, and of other signals, the default action stays", "[unit]") {
    // Catch has handlers of its own for both.
    const int terminated = status_of_child([] {
        std::signal(SIGTERM, SIG_DFL);
        ::kill(::getpid(), SIGTERM);
    });
    CHECK(WIFSIGNALED(terminated));
    CHECK(WTERMSIG(terminated) == SIGTERM);
    const int interrupted = status_of_child([] {
        std::signal(SIGINT, SIG_DFL);
        const StopSignal stop;
        ::kill(::getpid(), SIGINT);
    });
    CHECK(WIFSIGNALED(interrupted));
    CHECK(WTERMSIG(interrupted) == SIGINT);
}
