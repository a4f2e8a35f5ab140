#include "runtime/cli/command_line.hpp"

#include <unistd.h>

#include <array>
#include <boost/program_options.hpp>
#include <cstdio>
#include <functional>
#include <iostream>
#include <numbers>
#include <optional>

#include "comm/local/local_fabric.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "runtime/generate/generate.hpp"
#include "runtime/train/train.hpp"

namespace sy::runtime {
namespace {

namespace po = boost::program_options;

struct Arguments {
    std::string command;
    std::vector<std::string> rest;
    ConfigSources sources;
    std::string resume;
    int ranks = 1;
};

constexpr const char* kHelp =
    "switchyard: trains, evaluates and runs Mixture-of-Experts transformers with expert parallelism\n"
    "\n"
    "  switchyard train      learn from a text; --resume latest continues on any number of ranks\n"
    "  switchyard eval       validation loss of a checkpoint\n"
    "  switchyard generate   continue a prompt with a checkpoint\n"
    "  switchyard plan       parameters, memory and traffic of a config, before anything runs\n"
    "  switchyard checkpoint inspect|verify FOLDER\n"
    "  switchyard doctor     what is in this binary and what it sees\n"
    "  switchyard help config   all options\n"
    "\n"
    "Examples\n"
    "  mpirun -n 4 switchyard train --config run.conf --set train.steps=1000\n"
    "  switchyard generate --config run.conf --resume latest --set generate.prompt=\"Once \"\n"
    "  switchyard plan --config run.conf --ranks 64\n";

/// Runs body with the world: MPI's under a launcher, otherwise a single rank.
void with_world(const Config& config, const std::function<void(comm::Communicator&)>& body) {
    comm::Communicator::Settings settings;
    settings.deadline = std::chrono::seconds(config.parallel.deadline_seconds);
    if (!comm::launched_by_mpi()) {
        comm::LocalOptions options;
        options.settings = settings;
        comm::LocalFabric(1, options).run(body);
        return;
    }
    const comm::MpiSession mpi;
    const std::unique_ptr<comm::Communicator> world = mpi.world(settings);
    body(*world);
}

void with_checkpoint(const Arguments& arguments, const Config& config,
                     const std::function<void(Session&)>& body) {
    with_world(config, [&](comm::Communicator& world) {
        Session session(config, world);
        session.restore(CheckpointReader(
            find_checkpoint(config.run.directory, arguments.resume.empty() ? "latest" : arguments.resume)));
        body(session);
        session.close();
    });
}

int run_checkpoint_command(const Arguments& arguments) {
    if (arguments.rest.size() != 2 || (arguments.rest[0] != "verify" && arguments.rest[0] != "inspect")) {
        throw ConfigError(
            "checkpoint: write switchyard checkpoint inspect FOLDER or switchyard checkpoint verify FOLDER");
    }
    const std::filesystem::path folder = arguments.rest[1];
    if (arguments.rest[0] == "verify") {
        const std::vector<std::string> problems = verify_checkpoint(folder);
        for (const std::string& problem : problems) std::cout << problem << "\n";
        std::cout << (problems.empty() ? "whole: every file, tensor and expert is there and unaltered\n"
                                       : "damaged\n");
        return problems.empty() ? 0 : 1;
    }
    const Manifest manifest = read_manifest(folder);
    std::cout << "step " << manifest.step << ", written on " << manifest.layout << ", "
              << manifest.files.size() << " files\n";
    for (const auto& [name, shape] : manifest.shapes)
        std::printf("  %-40s %s\n", name.c_str(), shape.to_string().c_str());
    return 0;
}

int run(const Arguments& arguments) {
    if (arguments.command == "doctor") {
        std::cout << doctor_report();
        return 0;
    }
    if (arguments.command == "checkpoint") return run_checkpoint_command(arguments);
    if (!arguments.rest.empty())
        throw ConfigError(concat("unexpected word '", arguments.rest[0], "'; see switchyard --help"));
    const Config config = load_config(arguments.sources);
    if (arguments.command == "plan") {
        std::cout << plan_report(config, arguments.ranks);
    } else if (arguments.command == "train") {
        with_world(config, [&](comm::Communicator& world) {
            Session session(config, world);
            train(session, arguments.resume);
            session.close();
        });
    } else if (arguments.command == "eval") {
        with_checkpoint(arguments, config, [&](Session& session) {
            const Corpus corpus(config.data.path, config.model.seq_len, config.data.validation_fraction,
                                config.train.seed);
            const double loss = validation_loss(session, corpus);
            if (session.world().rank() == 0)
                std::cout << "validation loss " << loss << ", " << loss / std::numbers::ln2
                          << " bits per byte\n";
        });
    } else if (arguments.command == "generate") {
        with_checkpoint(arguments, config, [&](Session& session) {
            const std::string text = generate(session);
            if (session.world().rank() == 0) std::cout << text << "\n";
        });
    } else {
        throw ConfigError(concat("unknown command '", arguments.command, "'; see switchyard --help"));
    }
    return 0;
}

std::optional<Arguments> parse(std::span<const char* const> words) {
    po::options_description options;
    Arguments arguments;
    std::vector<std::string> positional;
    options.add_options()("help,h", "")("config", po::value(&arguments.sources.file))(
        "set", po::value(&arguments.sources.assignments)->composing())(
        "resume", po::value(&arguments.resume))("ranks", po::value(&arguments.ranks))("word",
                                                                                      po::value(&positional));
    po::positional_options_description order;
    order.add("word", -1);
    po::variables_map found;
    try {
        po::store(po::command_line_parser(static_cast<int>(words.size()), words.data())
                      .options(options)
                      .positional(order)
                      .run(),
                  found);
        po::notify(found);
    } catch (const po::error& error) {
        throw ConfigError(concat(error.what(), "; see switchyard --help"));
    }
    if (found.count("help") != 0 || positional.empty() || positional[0] == "help") {
        std::cout << (positional.size() == 2 && positional[1] == "config" ? config_help() : kHelp);
        return std::nullopt;
    }
    arguments.command = positional[0];
    arguments.rest.assign(positional.begin() + 1, positional.end());
    return arguments;
}

int report(const char* text, int exit_code) {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    std::fprintf(stderr, "switchyard (%s): %s\n", host.data(), text);
    std::fflush(stderr);
    if (comm::launched_by_mpi()) comm::MpiSession::abort(exit_code);
    return exit_code;
}

}  // namespace

int run_command_line(std::span<const char* const> words) {
    try {
        const std::optional<Arguments> arguments = parse(words);
        return arguments ? run(*arguments) : 0;
    } catch (const ConfigError& error) {
        return report(error.what(), 2);
    } catch (const TimeoutError& error) {
        return report(error.what(), 3);
    } catch (const CommError& error) {
        return report(error.what(), 3);
    } catch (const std::exception& error) {
        return report(error.what(), 1);
    }
}

}  // namespace sy::runtime
