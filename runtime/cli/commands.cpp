#include <array>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <numbers>

#include "runtime/cli/command_line.hpp"
#include "runtime/cli/world.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/train/train.hpp"

namespace sy::runtime {
namespace {

/// Runs body with a session restored from the checkpoint that was asked for, by default the latest.
void with_checkpoint(const Arguments& arguments, const std::function<void(Session&)>& body) {
    const Config config = load_config(arguments.sources);
    with_world(config.parallel, [&](comm::Communicator& world) {
        Session session(config, world);
        session.restore(CheckpointReader(
            find_checkpoint(config.run.directory, arguments.resume.empty() ? "latest" : arguments.resume)));
        body(session);
        session.close();
    });
}

int run_train(const Arguments& arguments) {
    const Config config = load_config(arguments.sources);
    with_world(config.parallel, [&](comm::Communicator& world) {
        Session session(config, world);
        train(session, arguments.resume);
        session.close();
    });
    return 0;
}

int run_eval(const Arguments& arguments) {
    with_checkpoint(arguments, [](Session& session) {
        const Config& config = session.config();
        const Corpus corpus(config.data.path, config.model.seq_len, config.data.validation_fraction,
                            config.train.seed);
        const double loss = validation_loss(session, corpus);
        if (session.world().rank() == 0)
            std::cout << "validation loss " << loss << ", " << loss / std::numbers::ln2 << " bits per byte\n";
    });
    return 0;
}

int run_generate(const Arguments& arguments) {
    with_checkpoint(arguments, [](Session& session) {
        const std::string text = generate(session);
        if (session.world().rank() == 0) std::cout << text << "\n";
    });
    return 0;
}

int run_plan(const Arguments& arguments) {
    std::cout << plan_report(load_config(arguments.sources), arguments.ranks);
    return 0;
}

int inspect_checkpoint(const std::filesystem::path& folder) {
    const Manifest manifest = read_manifest(folder);
    std::cout << "step " << manifest.step << ", written on " << manifest.written_on << ", "
              << manifest.files.size() << " files\n";
    for (const auto& [name, shape] : manifest.shapes)
        std::printf("  %-40s %s\n", name.c_str(), shape.to_string().c_str());
    return 0;
}

int run_checkpoint(const Arguments& arguments) {
    if (arguments.words[0] == "inspect") return inspect_checkpoint(arguments.words[1]);
    if (arguments.words[0] != "verify")
        throw ConfigError(
            concat("checkpoint: unknown action '", arguments.words[0], "'; write inspect or verify"));
    const std::vector<std::string> problems = verify_checkpoint(arguments.words[1]);
    for (const std::string& problem : problems) std::cout << problem << "\n";
    std::cout << (problems.empty() ? "whole: every file, tensor and expert is there and unaltered\n"
                                   : "damaged\n");
    return problems.empty() ? 0 : 1;
}

int run_doctor(const Arguments&) {
    std::cout << doctor_report();
    return 0;
}

int run_version(const Arguments&) {
    std::cout << version_report();
    return 0;
}

// clang-format off
constexpr std::array kCommands{
    Command{"train", "", 0, "config set resume", "learn from a text, or go on from a checkpoint on any number of ranks",
            "mpirun -n 4 switchyard train --config run.conf --set train.steps=1000", run_train},
    Command{"eval", "", 0, "config set resume", "validation loss of a checkpoint",
            "mpirun -n 2 switchyard eval --config run.conf --resume latest", run_eval},
    Command{"generate", "", 0, "config set resume", "continue a prompt with a checkpoint",
            "switchyard generate --config run.conf --set generate.prompt=\"Once \"", run_generate},
    Command{"plan", "", 0, "config set ranks", "parameters, memory and traffic of a config, before anything runs",
            "switchyard plan --config run.conf --ranks 64", run_plan},
    Command{"checkpoint", "inspect|verify FOLDER", 2, "", "what a checkpoint holds; whether all of it is there and unaltered",
            "switchyard checkpoint verify run/checkpoints/latest", run_checkpoint},
    Command{"doctor", "", 0, "", "what is in this binary and what it sees", "", run_doctor},
    Command{"version", "", 0, "", "version of the program, its compiler and libraries", "", run_version},
};
// clang-format on

}  // namespace

std::span<const Command> commands() {
    return kCommands;
}

}  // namespace sy::runtime
