#include <array>
#include <iostream>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/compare.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/train/upcycle.hpp"

namespace sy::runtime {
namespace {

int run_inspect(const Arguments& arguments) {
    std::cout << describe_checkpoint(follow_latest(arguments.words[1]));
    return 0;
}

int run_verify(const Arguments& arguments) {
    const std::vector<std::string> problems = verify_checkpoint(follow_latest(arguments.words[1]));
    for (const std::string& problem : problems) std::cout << problem << "\n";
    std::cout << (problems.empty() ? "whole: every file, tensor and expert is there and unaltered\n"
                                   : "damaged\n");
    return problems.empty() ? 0 : 1;
}

int run_diff(const Arguments& arguments) {
    const std::vector<std::string> lines =
        compare_checkpoints(follow_latest(arguments.words[1]), follow_latest(arguments.words[2]));
    for (const std::string& line : lines) std::cout << line << "\n";
    if (lines.empty()) {
        std::cout << "the same settings, state and tensors\n";
    } else {
        std::cout << lines.size() << " differences\n";
    }
    return lines.empty() ? 0 : 1;
}

int run_reshard(const Arguments& arguments) {
    // Opened as a checkpoint, so that its tensors are no larger than its files.
    const std::filesystem::path from = follow_latest(arguments.words[1]);
    const CheckpointReader reader(from);
    const ReshardPlan plan = plan_reshard(reader.manifest().shapes, arguments.ranks.value());
    std::cout << plan.to_string();
    reshard_checkpoint(from, arguments.words[2], plan);
    std::cout << "written to " << arguments.words[2] << "\n";
    return 0;
}

int run_upcycle(const Arguments& arguments) {
    const Config config = load_config(arguments.sources);
    upcycle_checkpoint(follow_latest(arguments.words[1]), arguments.words[2], config);
    for (const std::string& note : upcycle_notes(config.moe)) std::cout << "note: " << note << "\n";
    std::cout << "written to " << arguments.words[2] << "; go on with switchyard train --config ... --resume "
              << arguments.words[2] << "\n";
    return 0;
}

/// What an action takes besides folders, and cannot do without.
enum class Needs { nothing, ranks, config, format };

struct Action {
    std::string_view name;
    std::size_t num_words;  ///< with the action
    Needs needs;
    std::string_view usage;
    int (*run)(const Arguments&);
};

constexpr std::array kActions{
    Action{"inspect", 2, Needs::nothing, "inspect FOLDER", run_inspect},
    Action{"verify", 2, Needs::nothing, "verify FOLDER", run_verify},
    Action{"diff", 3, Needs::nothing, "diff FOLDER OTHER_FOLDER", run_diff},
    Action{"reshard", 3, Needs::ranks, "reshard FOLDER NEW_FOLDER --ranks N", run_reshard},
    Action{"upcycle", 3, Needs::config, "upcycle FOLDER NEW_FOLDER --config FILE", run_upcycle},
    Action{
        "export", 3, Needs::format,
        "export FOLDER NEW --to hf|gguf [--dtype f32|bf16|f16|q8_0] [--shard-size BYTES|5GB] [--family NAME] "
        "[--with-moments]",
        run_export},
    Action{"import", 3, Needs::nothing, "import FOLDER|FILE NEW_FOLDER [--without-tokenizer]", run_import},
};

bool fits(const Action& action, const Arguments& arguments) {
    const bool has_config = !arguments.sources.file.empty();
    const bool has_format = !arguments.format.empty();
    const bool has_details = !arguments.dtype.empty() || !arguments.shard_size.empty() ||
                             !arguments.family.empty() || arguments.with_moments;
    return arguments.words.size() == action.num_words &&
           arguments.ranks.has_value() == (action.needs == Needs::ranks) &&
           has_config == (action.needs == Needs::config) && has_format == (action.needs == Needs::format) &&
           (has_format || !has_details) && (!arguments.without_tokenizer || action.run == run_import) &&
           (has_config || arguments.sources.assignments.empty());
}

}  // namespace

int run_checkpoint_command(const Arguments& arguments) {
    for (const Action& action : kActions) {
        if (action.name != arguments.words[0]) continue;
        if (!fits(action, arguments)) {
            throw ConfigError(
                concat("checkpoint ", action.name, ": write switchyard checkpoint ", action.usage));
        }
        return action.run(arguments);
    }
    throw ConfigError(concat("checkpoint: unknown action '", arguments.words[0],
                             "'; write inspect, verify, diff, reshard, upcycle, export or "
                             "import"));
}

}  // namespace sy::runtime
