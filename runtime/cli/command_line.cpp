#include "runtime/cli/command_line.hpp"

#include <boost/program_options.hpp>
#include <iomanip>
#include <iostream>
#include <limits>
#include <type_traits>

#include "kernels/core/isa.hpp"
#include "runtime/cli/guarded_main.hpp"
#include "runtime/config/option.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

namespace po = boost::program_options;

/// The options of all commands; a command names those it takes.
struct OptionHelp {
    std::string_view name;
    const char* form;
    const char* help;
};
constexpr OptionHelp kOptions[] = {
    {"config", "--config FILE", "settings; `switchyard help config` lists them"},
    {"preset", "--preset NAME", "a published model, below the file's settings; `switchyard help presets`"},
    {"scaled-down", "--scaled-down",
     "the preset in small, on bytes: the same structure in under 5 M parameters"},
    {"set", "--set SECTION.KEY=VALUE", "one setting, over the file's; may be repeated"},
    {"resume", "--resume latest|FOLDER", "the checkpoint to continue from or to use"},
    {"ranks", "--ranks N", "number of ranks to plan for, or of shards to write"},
    {"ranks-per-node", "--ranks-per-node N", "consecutive ranks that share a node (8)"},
    {"node-memory", "--node-memory GIB", "what a node has; a plan that needs more is refused"},
    {"grace", "--grace S",
     "seconds from a job's stop signal to its end; too few for a checkpoint are refused"},
    {"scaling-law", "--scaling-law", "predicted loss over numbers of experts instead (arXiv:2202.01169)"},
    {"recommend", "--recommend",
     "the fastest layout on a cluster instead, by what its parts cost, and runners-up"},
    {"nodes", "--nodes N", "plan --recommend: nodes of the cluster"},
    {"cores-per-node", "--cores-per-node C", "plan --recommend: which ranks and their threads share"},
    {"mem-per-node", "--mem-per-node GIB", "plan --recommend: memory of a node"},
    {"network-gbps", "--network-gbps B", "plan --recommend: what a node sends, in Gbit/s; for several nodes"},
    {"calibration", "--calibration FILE", "plan --recommend: costs that bench --calibrate has measured"},
    {"calibrate", "--calibrate FILE",
     "measures what the parts of a step of the config cost, for plan --recommend; never a file that exists"},
    {"threads", "--threads N", "threads of a rank; by default its share of the cores"},
    {"seconds", "--seconds S", "least time to measure each row (0.5); 0: one call each, to check results"},
    {"json", "--json", "one JSON object a line instead of a table"},
    {"trace", "--trace FILE", "bench exchange: repeats routing that telemetry.routing_trace has recorded"},
    {"full", "--full", "bench exchange: 1 to 16384 tokens of 256 to 4096 values, minutes instead of seconds"},
    {"exchange-table", "--exchange-table FILE",
     "bench exchange: measures which exchange is fastest, for parallel.exchange_table; never a file that "
     "exists"},
    {"data", "--data FOLDER", "also writes the data of plots, two files for each row"},
    {"html", "--html FILE",
     "also writes a page of figures; in place of an earlier page, but of no other file"},
    {"to", "--to hf|gguf", "the format to export to: a folder for transformers, or a file for llama.cpp"},
    {"dtype", "--dtype f32|bf16|f16|q8_0", "dtype of exported weights (f32); q8_0 is gguf's"},
    {"shard-size", "--shard-size BYTES|5GB", "most bytes of tensors in a file (hf: 5GB; gguf: one file)"},
    {"with-moments", "--with-moments", "also exports AdamW's moments, as moments.safetensors (hf)"},
    {"family", "--family NAME",
     "the model class (model_type) or architecture to export as; by default the first that fits"},
    {"without-tokenizer", "--without-tokenizer",
     "imports a model without its tokenizer, for ids that were made elsewhere"},
    {"tokenizer", "--tokenizer bytes|PATH",
     "a tokenizer.json, a tokenizer.model, or a folder with one of them"},
    {"out", "--out FILE", "the file to write; never one that exists"},
    {"jsonl-field", "--jsonl-field NAME", "the field of JSON lines that holds the document (text)"},
};

bool takes(const Command& command, std::string_view option) {
    return (concat(" ", command.options, " ")).find(concat(" ", option, " ")) != std::string::npos;
}

std::vector<std::string> command_names() {
    std::vector<std::string> names{"help"};
    for (const Command& command : commands()) names.emplace_back(command.name);
    return names;
}

const Command& find_command(const std::string& name) {
    for (const Command& command : commands()) {
        if (command.name == name) return command;
    }
    throw ConfigError(
        concat("unknown command '", name, "'", suggestion(name, command_names(), "; see switchyard --help")));
}

std::string usage(const Command& command) {
    return concat("switchyard ", command.name, command.words.empty() ? "" : " ", command.words);
}

/// A line of help: what stands too long in the first column has its text in the next line.
std::string help_line(const std::string& form, std::string_view help) {
    constexpr std::size_t kColumn = 46;
    const std::string gap = form.size() < kColumn ? std::string(kColumn - form.size(), ' ')
                                                  : "\n" + std::string(kColumn + 2, ' ');
    return concat("  ", form, gap, help, "\n");
}

std::string general_help() {
    std::ostringstream text;
    text << "switchyard: trains, evaluates and runs Mixture-of-Experts transformers with expert "
            "parallelism\n\n";
    for (const Command& command : commands()) text << help_line(usage(command), command.help);
    text << help_line("switchyard help COMMAND | config [SECTION]", "more about a command; all settings")
         << help_line("switchyard help presets", "published models that --preset names") << "\nExamples\n";
    for (const Command& command : commands()) {
        if (!command.example.empty()) text << "  " << command.example << "\n";
    }
    text << "\nEnvironment\n  " << kIsaVariable << "=generic|avx2|avx512|avx512_bf16|amx_bf16  "
         << "lower instructions than the processor's best; doctor names those in use\n";
    text << "\nExit codes: 0 good, 1 failed, 2 wrong usage or settings, 3 time-out or lost peer,\n"
            "75 training stopped early by a signal.\n";
    return text.str();
}

std::string command_help(const Command& command) {
    std::ostringstream text;
    text << usage(command) << ": " << command.help << "\n";
    for (const OptionHelp& option : kOptions) {
        if (takes(command, option.name))
            text << "  " << std::left << std::setw(26) << option.form << option.help << "\n";
    }
    text << command.details;
    if (!command.example.empty()) text << "Example\n  " << command.example << "\n";
    return text.str();
}

/// Boost.Program_options' findings, with wrong usage as ConfigError.
struct Found {
    po::variables_map values;
    std::vector<std::string> words;
};

Found read_words(std::span<const char* const> arguments) {
    po::options_description options;
    options.add_options()("help,h", "")("word", po::value<std::vector<std::string>>());
    for (const OptionHelp& option : kOptions) {
        const std::string name(option.name);
        const bool has_value = std::string_view(option.form).find(' ') != std::string_view::npos;
        if (name == "set") {
            options.add_options()(name.c_str(), po::value<std::vector<std::string>>());
        } else if (has_value) {
            options.add_options()(name.c_str(), po::value<std::string>());
        } else {
            options.add_options()(name.c_str(), "");
        }
    }
    po::positional_options_description order;
    order.add("word", -1);
    Found found;
    try {
        // Abbreviated options would change their meaning when an option is added.
        const int style = po::command_line_style::default_style & ~po::command_line_style::allow_guessing;
        po::store(po::command_line_parser(static_cast<int>(arguments.size()), arguments.data())
                      .options(options)
                      .positional(order)
                      .style(style)
                      .run(),
                  found.values);
    } catch (const po::unknown_option& error) {
        std::vector<std::string> names{"--help"};
        for (const OptionHelp& option : kOptions) names.push_back(concat("--", option.name));
        throw ConfigError(concat("unknown option ", error.get_option_name(),
                                 suggestion(error.get_option_name(), names, "; see switchyard --help")));
    } catch (const po::error& error) {
        throw ConfigError(concat(error.what(), "; see switchyard --help"));
    }
    if (found.values.contains("word")) found.words = found.values["word"].as<std::vector<std::string>>();
    return found;
}

/// Sets `field` from --NAME where it was given; what is wrong is said as it is of settings.
/// @param T  index_t or double
template <class T>
void read_number(const Found& found, const char* name, T& field, T low, T high,
                 std::vector<std::string>& problems) {
    if (!found.values.contains(name)) return;
    OptionTable table;
    if constexpr (std::is_same_v<T, double>) {
        table.number({name, "", ""}, field, low, high);
    } else {
        table.whole({name, "", ""}, field, low, high);
    }
    const std::string problem = table.take().front().set(found.values[name].as<std::string>());
    // A default, which that would name where nothing can be tried, is none of an option.
    if (!problem.empty())
        problems.push_back(concat("--", name, ": ", problem.substr(0, problem.find("; the default is "))));
}

constexpr double kMostOfNumber = std::numeric_limits<double>::max();
constexpr index_t kMostOfWhole = std::numeric_limits<int>::max();

/// What belongs to plan --recommend.
void read_cluster(const Found& found, Arguments& arguments, std::vector<std::string>& problems) {
    Cluster& cluster = arguments.cluster;
    arguments.recommend = found.values.contains("recommend");
    read_number(found, "nodes", cluster.nodes, index_t{1}, kMostOfWhole, problems);
    read_number(found, "cores-per-node", cluster.cores_per_node, index_t{1}, kMostOfWhole, problems);
    double gibibytes = 0.0;
    read_number(found, "mem-per-node", gibibytes, 0.0, kMostOfNumber, problems);
    cluster.memory_per_node = gibibytes * (1U << 30U);
    read_number(found, "network-gbps", cluster.network_gbps, 0.0, kMostOfNumber, problems);
    if (arguments.recommend) {
        const std::vector<std::string> wrong = cluster_problems(cluster);
        problems.insert(problems.end(), wrong.begin(), wrong.end());
        for (const char* name : {"ranks", "ranks-per-node", "node-memory", "grace", "scaling-law"}) {
            if (found.values.contains(name))
                problems.push_back(concat("plan --recommend chooses for itself; leave --", name, " out"));
        }
        return;
    }
    for (const char* name : {"nodes", "cores-per-node", "mem-per-node", "network-gbps", "calibration"}) {
        if (found.values.contains(name))
            problems.push_back(concat("--", name, " belongs to plan --recommend"));
    }
}

Arguments check_usage(const Command& command, const Found& found) {
    Arguments arguments;
    arguments.command = command.name;
    arguments.words.assign(found.words.begin() + 1, found.words.end());
    std::vector<std::string> problems;
    for (const OptionHelp& option : kOptions) {
        if (found.values.contains(std::string(option.name)) && !takes(command, option.name))
            problems.push_back(concat(command.name, " does not take --", option.name));
    }
    if (arguments.words.size() < command.least_words || arguments.words.size() > command.most_words) {
        problems.push_back(concat(command.name, ": ", arguments.words.size(),
                                  " words after the command; write ", usage(command)));
    }
    if (found.values.contains("config")) arguments.sources.file = found.values["config"].as<std::string>();
    if (found.values.contains("preset")) arguments.sources.preset = found.values["preset"].as<std::string>();
    arguments.sources.scaled_down = found.values.contains("scaled-down");
    arguments.scaling_law = found.values.contains("scaling-law");
    arguments.with_moments = found.values.contains("with-moments");
    if (found.values.contains("set"))
        arguments.sources.assignments = found.values["set"].as<std::vector<std::string>>();
    if (found.values.contains("resume")) arguments.resume = found.values["resume"].as<std::string>();
    index_t ranks = 1;
    read_number(found, "ranks", ranks, index_t{1}, kMostOfWhole, problems);
    if (found.values.contains("ranks")) arguments.ranks = narrow<int>(ranks);
    index_t ranks_per_node = arguments.ranks_per_node;
    read_number(found, "ranks-per-node", ranks_per_node, index_t{1}, kMostOfWhole, problems);
    arguments.ranks_per_node = narrow<int>(ranks_per_node);
    double gibibytes = 0.0;
    read_number(found, "node-memory", gibibytes, 0.0, kMostOfNumber, problems);
    arguments.limits.node_memory = gibibytes * (1U << 30U);
    read_number(found, "grace", arguments.limits.grace_seconds, 0.0, kMostOfNumber, problems);
    read_cluster(found, arguments, problems);
    index_t threads = 0;
    read_number(found, "threads", threads, index_t{1}, kMostOfWhole, problems);
    arguments.threads = narrow<int>(threads);
    read_number(found, "seconds", arguments.seconds, 0.0, kMostOfNumber, problems);
    for (const auto& [name, field] :
         {std::pair("data", &arguments.data), std::pair("trace", &arguments.trace),
          std::pair("exchange-table", &arguments.exchange_table), std::pair("to", &arguments.format),
          std::pair("dtype", &arguments.dtype), std::pair("shard-size", &arguments.shard_size),
          std::pair("family", &arguments.family), std::pair("tokenizer", &arguments.tokenizer),
          std::pair("calibration", &arguments.calibration), std::pair("calibrate", &arguments.calibrate),
          std::pair("out", &arguments.out), std::pair("html", &arguments.html),
          std::pair("jsonl-field", &arguments.jsonl_field)}) {
        if (found.values.contains(name)) *field = found.values[name].as<std::string>();
    }
    arguments.json = found.values.contains("json");
    arguments.full = found.values.contains("full");
    arguments.without_tokenizer = found.values.contains("without-tokenizer");
    if (!problems.empty()) throw ConfigError(problems);
    return arguments;
}

/// @throws ConfigError for arguments that no JSON, and so no record of this run, could hold
void check_encoding(std::span<const char* const> arguments) {
    std::vector<std::string> problems;
    for (const char* const argument : arguments) {
        if (!is_utf8(argument))
            problems.push_back(
                concat("'", escaped(argument),
                       "' on the command line is not UTF-8; write it in UTF-8, or rename the file that it "
                       "names"));
    }
    if (!problems.empty()) throw ConfigError(problems);
}

int print_help(const std::vector<std::string>& topics) {
    if (topics.empty()) {
        std::cout << general_help();
    } else if (topics[0] == "presets") {
        std::cout << presets_help();
    } else if (topics[0] == "config") {
        std::cout << config_help(topics.size() > 1 ? topics[1] : std::string{});
    } else {
        std::cout << command_help(find_command(topics[0]));
    }
    return 0;
}

int run_words(std::span<const char* const> words) {
    check_encoding(words.subspan(1));
    const Found found = read_words(words);
    if (found.words.empty()) {
        if (found.values.contains("help")) return print_help({});
        throw ConfigError("no command given; see switchyard --help");
    }
    if (found.words[0] == "help") return print_help({found.words.begin() + 1, found.words.end()});
    const Command& command = find_command(found.words[0]);
    if (found.values.contains("help")) return print_help({found.words[0]});
    const Arguments arguments = check_usage(command, found);
    // A wrong SWITCHYARD_ISA fails here, before any work has begun.
    isa();
    const std::string note = takes(command, "config") ? environment_note() : std::string{};
    if (!note.empty() && launcher_rank() <= 0) std::cerr << "note: " << note << "\n";
    return command.run(arguments);
}

}  // namespace

int run_command_line(std::span<const char* const> words) {
    const int code = run_words(words);
    if (!std::cout.flush())
        throw IoError(
            "writing to standard output failed; is the disk full, or the pipe closed, that it goes to?");
    return code;
}

}  // namespace sy::runtime
