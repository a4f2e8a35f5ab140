#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/bench/report.hpp"
#include "runtime/config/config.hpp"
#include "runtime/plan/plan.hpp"
#include "runtime/plan/recommend.hpp"

namespace sy::runtime {

/// The command line taken apart.
struct Arguments {
    std::string command;
    std::vector<std::string> words;  ///< behind the command
    ConfigSources sources;
    std::string resume;
    std::optional<int> ranks;
    int ranks_per_node = 8;  ///< planned for
    JobLimits limits;        ///< that a plan has to keep
    bool scaling_law = false;
    bool recommend = false;     ///< a layout instead of a plan
    Cluster cluster;            ///< to recommend for
    std::string calibration;    ///< file of measured costs; empty: not given
    std::string calibrate;      ///< file for measured costs; empty: not given
    bool with_moments = false;  ///< export AdamW's moments beside the weights
    int threads = 0;            ///< of a rank; 0: not given
    double seconds = 0.5;       ///< of measuring
    bool json = false;
    bool full = false;               ///< all sizes of a benchmark
    std::string exchange_table;      ///< file for what is fastest; empty: not given
    std::string trace;               ///< recorded routing to measure with; empty: not given
    std::string data;                ///< folder for files to draw from; empty: none
    std::string html;                ///< page of a report to write; empty: none
    std::string format;              ///< of an export; empty: not given
    std::string dtype;               ///< of exported weights; empty: f32
    std::string shard_size;          ///< most bytes of tensors in an exported file; empty: 5 GB
    std::string family;              ///< model class to export as; empty: the first that fits
    bool without_tokenizer = false;  ///< of an import
    std::string tokenizer;           ///< as data.tokenizer; empty: not given
    std::string out;                 ///< file to write; empty: not given
    std::string jsonl_field;         ///< of a line that holds a document; empty: not given
};

/// One subcommand. Options it does not list are refused: nothing is ignored in silence.
struct Command {
    std::string_view name;
    std::string_view words;  ///< how its words are called in help: "ACTION FOLDER [FOLDER]"
    std::size_t least_words;
    std::size_t most_words;
    std::string_view options;  ///< those it takes, out of those in command_line.cpp
    std::string_view help;
    std::string_view example;
    int (*run)(const Arguments&);   ///< @return the exit code; throws to fail
    std::string_view details = {};  ///< more lines of `help COMMAND`
};

/// The subcommands, in the order of help. To add one, add a line to the table in commands.cpp.
std::span<const Command> commands();

/// Parses and runs; `help` and `--help` never start MPI.
/// @return the exit code. @throws ConfigError for wrong usage; whatever the command throws
int run_command_line(std::span<const char* const> arguments);

/// `switchyard checkpoint ACTION ...`. @return the exit code
int run_checkpoint_command(const Arguments& arguments);

/// `switchyard checkpoint export|import`: models as other programs store them. @return the exit code
int run_export(const Arguments& arguments);
int run_import(const Arguments& arguments);

/// `switchyard data ACTION ...`: token files. @return the exit code
int run_data_command(const Arguments& arguments);

/// `switchyard report FOLDER...`. @return the exit code
int run_report_command(const Arguments& arguments);

/// `switchyard scaling ACTION FOLDER`: what jobs/scaling measures. @return the exit code
int run_scaling_command(const Arguments& arguments);

/// `switchyard doctor`: what is in the binary and what it sees. Starts MPI only under a launcher; then
/// rank 0 reports for all, and the text is empty on the others. @par Collective
std::string doctor_report();

/// `switchyard plan`: size and cost of a run, and where its config is unusual, from the config alone.
/// @throws ConfigError for what the job has no room or no time for
std::string plan_report(const Config& config, const PlanRequest& request, const JobLimits& limits);

/// `switchyard plan --recommend`: the fastest layout on a cluster, and runners-up.
/// @param calibration  a file of `bench --calibrate`; empty: costs are assumed
/// @throws ConfigError with all that is wrong, or when nothing fits; IoError as read_calibration
std::string recommendation_report(const Config& config, const Cluster& cluster,
                                  const std::string& calibration, ReportStyle style);

/// `switchyard help presets`: name, parameters and source of each published model.
std::string presets_help();

/// `switchyard version`: version, compiler, libraries.
std::string version_report();

}  // namespace sy::runtime
