#include <array>
#include <iostream>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/compare.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/cli/command_line.hpp"

namespace sy::runtime {
namespace {

int run_inspect(const Arguments& arguments) {
    std::cout << describe_checkpoint(arguments.words[1]);
    return 0;
}

int run_verify(const Arguments& arguments) {
    const std::vector<std::string> problems = verify_checkpoint(arguments.words[1]);
    for (const std::string& problem : problems) std::cout << problem << "\n";
    std::cout << (problems.empty() ? "whole: every file, tensor and expert is there and unaltered\n"
                                   : "damaged\n");
    return problems.empty() ? 0 : 1;
}

int run_diff(const Arguments& arguments) {
    const std::vector<std::string> lines = compare_checkpoints(arguments.words[1], arguments.words[2]);
    for (const std::string& line : lines) std::cout << line << "\n";
    if (lines.empty()) {
        std::cout << "the same settings, state and tensors\n";
    } else {
        std::cout << lines.size() << " differences\n";
    }
    return lines.empty() ? 0 : 1;
}

int run_reshard(const Arguments& arguments) {
    const ReshardPlan plan = plan_reshard(read_manifest(arguments.words[1]).shapes, arguments.ranks.value());
    std::cout << plan.to_string();
    reshard_checkpoint(arguments.words[1], arguments.words[2], plan);
    std::cout << "written to " << arguments.words[2] << "\n";
    return 0;
}

enum class Ranks { refused, needed };

struct Action {
    std::string_view name;
    std::size_t num_words;  ///< with the action
    Ranks ranks;
    std::string_view usage;
    int (*run)(const Arguments&);
};

constexpr std::array kActions{
    Action{"inspect", 2, Ranks::refused, "inspect FOLDER", run_inspect},
    Action{"verify", 2, Ranks::refused, "verify FOLDER", run_verify},
    Action{"diff", 3, Ranks::refused, "diff FOLDER OTHER_FOLDER", run_diff},
    Action{"reshard", 3, Ranks::needed, "reshard FOLDER NEW_FOLDER --ranks N", run_reshard},
};

}  // namespace

int run_checkpoint_command(const Arguments& arguments) {
    for (const Action& action : kActions) {
        if (action.name != arguments.words[0]) continue;
        if (arguments.words.size() != action.num_words ||
            arguments.ranks.has_value() != (action.ranks == Ranks::needed)) {
            throw ConfigError(
                concat("checkpoint ", action.name, ": write switchyard checkpoint ", action.usage));
        }
        return action.run(arguments);
    }
    throw ConfigError(concat("checkpoint: unknown action '", arguments.words[0],
                             "'; write inspect, verify, diff or reshard"));
}

}  // namespace sy::runtime
