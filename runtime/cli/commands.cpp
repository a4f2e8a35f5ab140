#include <sysexits.h>

#include <array>
#include <cmath>
#include <iostream>

#include "runtime/bench/bench.hpp"
#include "runtime/checkpoint/agree.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/cli/stop_signal.hpp"
#include "runtime/cli/world.hpp"
#include "runtime/eval/perplexity.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/plan/scaling_law.hpp"
#include "runtime/train/resume.hpp"
#include "runtime/train/train.hpp"

namespace sy::runtime {
namespace {

/// Runs body with a session restored from the checkpoint that --resume names, by default the latest.
void with_checkpoint(const Arguments& arguments, const std::function<void(Session&)>& body) {
    const Config config = load_config(arguments.sources);
    with_world(config.parallel, [&](comm::Communicator& world) {
        Session session(config, world, Session::Purpose::infer);
        AgreedCheckpoint found = agree_on_checkpoint(world, config.run.directory,
                                                     arguments.resume.empty() ? "latest" : arguments.resume);
        const CheckpointReader reader(found.folder, std::move(found.manifest));
        std::vector<std::string> notes = check_settings(reader.manifest(), config);
        if (!session.processor_note().empty()) notes.push_back(session.processor_note());
        for (const std::string& note : notes)
            if (world.rank() == 0) std::cerr << "note: " << note << "\n";
        with_advice_on_damage(world, found.folder, [&] { session.restore(reader); });
        body(session);
        session.close();
    });
}

int run_train(const Arguments& arguments) {
    const Config config = load_config(arguments.sources);
    // This comes after the config, which may come through a pipe that nobody writes to; before MPI and any other thread.
    const StopSignal stop;
    bool interrupted = false;
    with_world(config.parallel, [&](comm::Communicator& world) {
        Session session(config, world);
        interrupted = train(session, arguments.resume, [&stop] { return stop.requested(); }).interrupted;
        session.close();
    });
    return interrupted ? EX_TEMPFAIL : 0;
}

int run_eval(const Arguments& arguments) {
    with_checkpoint(arguments, [](Session& session) {
        const Config& config = session.config();
        if (!config.eval.text.empty()) {
            const TextLoss loss = text_loss(session);
            if (session.world().rank() == 0) std::cout << loss.text() << "\n";
            return;
        }
        const Corpus corpus(config, session.num_threads());
        const Validation validation = validation_loss(session, corpus);
        if (!std::isfinite(validation.loss)) {
            throw Error(concat(
                "eval: the validation loss is ", validation.loss,
                ", which is no measure of a model: its weights, or what it computes with them, are not "
                "finite, or train.eval_batches = ",
                config.train.eval_batches,
                " batches have no token with a target; go back to an earlier checkpoint with "
                "--resume"));
        }
        if (session.world().rank() == 0)
            std::cout << "validation loss " << validation.loss << ", " << validation.bits_per_byte
                      << " bits per byte\n";
    });
    return 0;
}

int run_generate(const Arguments& arguments) {
    with_checkpoint(arguments, [](Session& session) {
        const std::string note = generate(session, std::cout);
        if (session.world().rank() == 0 && !note.empty()) std::cerr << "note: " << note << "\n";
    });
    return 0;
}

int run_plan(const Arguments& arguments) {
    const Config config = load_config(arguments.sources);
    if (arguments.recommend) {
        std::cout << recommendation_report(config, arguments.cluster, arguments.calibration,
                                           arguments.json ? ReportStyle::json : ReportStyle::table);
        return 0;
    }
    if (arguments.json) throw ConfigError("plan prints JSON with --recommend alone");
    // Where nothing is asked, as many as the config wants to run on.
    const int num_ranks = arguments.ranks.value_or(narrow<int>(std::max<index_t>(1, config.parallel.ranks)));
    std::cout << (arguments.scaling_law
                      ? scaling_law_text(config.model, config.moe)
                      : plan_report(config, {num_ranks, arguments.ranks_per_node}, arguments.limits));
    return 0;
}

/// @throws ConfigError for options that only `bench exchange` takes, or that exclude each other
void check_exchange_options(const BenchOptions& options) {
    std::vector<std::string> given;
    if (!options.trace.empty()) given.emplace_back("--trace");
    if (options.full) given.emplace_back("--full");
    if (!options.exchange_table.empty()) given.emplace_back("--exchange-table");
    if (given.empty()) return;
    if (options.what != "exchange")
        throw ConfigError(
            concat("bench ", options.what, " does not take ", given.front(), "; bench exchange does"));
    if (given.size() > 1)
        throw ConfigError(
            concat("bench exchange takes ", given[0], " or ", given[1], ", which have sizes of their own"));
    if (options.full && options.has_config)
        throw ConfigError("bench exchange --full has sizes of its own; leave --config and --preset out");
}

int run_benchmark(const Arguments& arguments) {
    BenchOptions options;
    if (arguments.words.empty() == arguments.calibrate.empty())
        throw ConfigError(
            "bench: name one benchmark, or give --calibrate FILE without one; see switchyard help bench");
    options.what = arguments.words.empty() ? "calibrate" : arguments.words[0];
    options.calibration = arguments.calibrate;
    options.threads = arguments.threads;
    options.seconds = arguments.seconds;
    options.style = arguments.json ? ReportStyle::json : ReportStyle::table;
    options.has_config = !arguments.sources.file.empty() || !arguments.sources.preset.empty();
    options.trace = arguments.trace;
    options.full = arguments.full;
    options.exchange_table = arguments.exchange_table;
    check_exchange_options(options);
    options.config = load_config(arguments.sources);
    bool right = false;
    with_world(options.config.parallel,
               [&](comm::Communicator& world) { right = run_bench(options, world, std::cout); });
    return right ? 0 : 1;
}

int run_doctor(const Arguments&) {
    std::cout << doctor_report();
    return 0;
}

int run_version(const Arguments&) {
    std::cout << version_report();
    return 0;
}

constexpr std::string_view kCheckpointActions = R"(Actions
  inspect FOLDER                       step, state, and every tensor with its shape and checksums
  verify FOLDER                        whether every file, tensor and expert is there and unaltered; exit code 1 if not
  diff FOLDER OTHER_FOLDER             settings, state and matrices that differ, and by how much; exit code 1 if any
  reshard FOLDER NEW_FOLDER --ranks N  the same checkpoint in N shards; a run can resume from either
  upcycle FOLDER NEW_FOLDER --config FILE   a mixture, as FILE describes it, whose experts begin as copies of the dense
                                       feed-forwards in FOLDER; train --resume NEW_FOLDER starts from it
  export FOLDER NEW_FOLDER --to hf     the weights in a folder that transformers opens, with config.json and tokenizer
  export FOLDER NEW_FILE --to gguf     the model as llama.cpp runs it, with NEW_FILE.manifest.json of checksums beside it
  import FOLDER|FILE NEW_FOLDER        a checkpoint of step 0 from such a folder or file, its settings as NEW_FOLDER.conf
)";

constexpr std::string_view kDataActions = R"(Actions
  tokenize INPUT... --tokenizer PATH --out FILE   texts as a file of token ids, which data.path takes in their place
  inspect FILE...                      its counts, tokenizer and checksum
  verify FILE...                       whether every token and document is there and unaltered; exit code 1 if not
An INPUT named .jsonl or .ndjson has a document a line, any other is one document. Behind each document stands the
tokenizer's end-of-text token, if it has one. What a kill has left, FILE's folder/.unfinished-*, is continued by the same
command, and the result is the same to the byte.
)";

constexpr std::string_view kTrainSignals =
    R"(--resume latest resumes from the checkpoint that the link run.directory/checkpoints/latest names, --resume FOLDER from that
checkpoint; what the run's folder holds of later steps, checkpoints and lines of metrics.jsonl and drops.jsonl, is first
moved to run.directory/aside-1, aside-2, ... Without --resume a run.directory that holds checkpoints is refused, and so is one that
another run is using.
SIGTERM and SIGUSR1, to one rank or more, end the run after its current step with a checkpoint and exit code 75; one
that comes before the first step ends it at once, and a validation is abandoned. Further signals change nothing. SIGINT
(Ctrl-C) ends it without a checkpoint. mpirun passes SIGUSR1 on, but kills its ranks a second after SIGTERM: send it SIGUSR1.
)";

constexpr std::string_view kReportFolders =
    R"(FOLDER is the run.directory of a run, or holds several that differ in their seeds and make one row.
)";

constexpr std::string_view kScalingActions = R"(Actions
  measure FOLDER TASK   what the run of a task says, as the line of JSON that FOLDER/results keeps
  todo FOLDER           numbers of the tasks that have no whole line yet
  report FOLDER         tables; and into FOLDER report.html, CSV, and files for Extra-P and TALP-Pages
  lines FOLDER          each number of each point as NAME VALUE UNIT, for JUBE and Benchpark
  simulations FOLDER    what to ask switchyard-sim: exchange, expert-parallel size, nodes, ranks, and its options
FOLDER is that of jobs/scaling/study, which runs these.
)";

// clang-format off
constexpr std::array kCommands{
    Command{"train", "", 0, 0, "preset scaled-down config set resume", "train on a text, or resume from a checkpoint, on any number of ranks",
            "mpirun --bind-to none -n 4 switchyard train --config run.conf --set train.steps=1000", run_train, kTrainSignals},
    Command{"eval", "", 0, 0, "preset scaled-down config set resume", "validation loss of a checkpoint, or its perplexity on eval.text",
            "mpirun --bind-to none -n 2 switchyard eval --config run.conf --resume latest", run_eval},
    Command{"generate", "", 0, 0, "preset scaled-down config set resume", "continue prompts with a checkpoint",
            "switchyard generate --config run.conf --set generate.prompt=\"Once \"", run_generate},
    Command{"plan", "", 0, 0, "preset scaled-down config set ranks ranks-per-node node-memory grace scaling-law "
            "recommend nodes cores-per-node mem-per-node network-gbps calibration json",
            "parameters, memory and traffic of a config, before anything runs",
            "switchyard plan --preset deepseek-v3 --ranks 256", run_plan},
    Command{"checkpoint", "ACTION FOLDER [FOLDER]", 2, 3, "config set ranks to dtype shard-size family with-moments without-tokenizer",
            "inspect, verify, compare, reshard, upcycle, export and import checkpoints",
            "switchyard checkpoint verify run/checkpoints/latest", run_checkpoint_command, kCheckpointActions},
    Command{"data", "ACTION FILE...", 2, 100000, "tokenizer out jsonl-field threads",
            "tokenize texts; inspect and verify token files",
            "switchyard data tokenize book.txt more.jsonl --tokenizer tokenizer.json --out text.tok", run_data_command,
            kDataActions},
    Command{"bench", "gemm|ops|layer|device|routing|checkpoint|exchange|step", 0, 1, "preset scaled-down config set threads seconds json trace full exchange-table calibrate",
            "benchmarks beside limits and peers of the same run, each result checked",
            "mpirun --bind-to none -n 2 switchyard bench exchange", run_benchmark},
    Command{"report", "FOLDER...", 1, 1000, "json data html", "metrics of runs, summarised side by side",
            "switchyard report run/quickstart", run_report_command, kReportFolders},
    Command{"scaling", "ACTION FOLDER [TASK]", 2, 3, "", "scaling studies: what jobs/scaling/study has measured",
            "switchyard scaling report run/strong", run_scaling_command, kScalingActions},
    Command{"doctor", "", 0, 0, "", "what this build contains and what it finds on the machine", "", run_doctor},
    Command{"version", "", 0, 0, "", "version of the program, its compiler and libraries", "", run_version},
};
// clang-format on

}  // namespace

std::span<const Command> commands() {
    return kCommands;
}

}  // namespace sy::runtime
