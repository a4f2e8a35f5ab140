#include "runtime/config/config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numeric>

namespace sy::runtime {
namespace {

std::string trim(const std::string& text) {
    const auto first = text.find_first_not_of(" \t\r");
    if (first == std::string::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

template <class T>
std::string print(T value) {
    std::array<char, 64> text{};
    const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
    return {text.data(), end};
}

/// Parses all of `text` as a T within [low, high].
template <class T>
std::string parse(const std::string& text, T low, T high, T& target) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = std::is_integral_v<T>;
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= low && value <= high)) {
        return concat("'", text, "' is not a ", whole ? "whole number" : "number", " from ", print(low),
                      " to ", print(high));
    }
    target = value;
    return {};
}

class Table {
  public:
    template <class T>
    requires std::is_arithmetic_v<T>
    void number(const char* name, T& field, T low, T high, const char* help) {
        options_.push_back(
            {name, std::is_integral_v<T> ? "whole number" : "number", help,
             [&field, low, high](const std::string& text) { return parse(text, low, high, field); },
             [&field] { return print(field); }});
    }
    void text(const char* name, std::string& field, const char* help) {
        options_.push_back({name, "text", help,
                            [&field](const std::string& text) {
                                field = text;
                                return std::string{};
                            },
                            [&field] { return field; }});
    }
    void flag(const char* name, bool& field, const char* help) {
        choice<bool>(name, field, {{"no", false}, {"yes", true}}, help);
    }
    template <class T>
    void choice(const char* name, T& field, std::vector<std::pair<std::string, T>> values, const char* help) {
        std::string kind;
        for (const auto& [word, value] : values) kind += (kind.empty() ? "" : "|") + word;
        options_.push_back({name, kind, help,
                            [&field, values, kind](const std::string& text) {
                                for (const auto& [word, value] : values) {
                                    if (word != text) continue;
                                    field = value;
                                    return std::string{};
                                }
                                return concat("'", text, "' is not one of ", kind);
                            },
                            [&field, values] {
                                for (const auto& [word, value] : values) {
                                    if (value == field) return word;
                                }
                                return std::string{};
                            }});
    }
    std::vector<Option> take() { return std::move(options_); }

  private:
    std::vector<Option> options_;
};

constexpr index_t kMany = index_t{1} << 40;
constexpr std::uint64_t kAnySeed = ~std::uint64_t{0};

void model_options(Table& table, model::ModelConfig& model) {
    table.number<index_t>("model.vocab_size", model.vocab_size, 2, kMany,
                          "size of the vocabulary; 256 for bytes");
    table.number<index_t>("model.hidden", model.hidden, 1, kMany, "width of the residual stream");
    table.number<index_t>("model.layers", model.layers, 1, 100000, "number of blocks");
    table.number<index_t>("model.heads", model.heads, 1, kMany, "query heads");
    table.number<index_t>("model.kv_heads", model.kv_heads, 1, kMany,
                          "key and value heads; fewer than heads: grouped queries");
    table.number<index_t>("model.head_dim", model.head_dim, 0, kMany, "width of a head; 0: hidden / heads");
    table.number<index_t>("model.ffn_width", model.ffn_width, 1, kMany, "inner width of dense feed-forwards");
    table.number<index_t>("model.seq_len", model.seq_len, 1, kMany, "tokens of a sequence");
    table.number("model.rope_theta", model.rope_theta, 1.0, 1e12, "base of the rotary wavelengths");
    table.number("model.norm_eps", model.norm_eps, 0.0, 1.0, "added to the mean square in RMSNorm");
    table.flag("model.tied_head", model.tied_head, "use the embedding as the output projection");
    table.number("model.init_std", model.init_std, 0.0, 10.0, "standard deviation of initial weights");
    table.choice<DType>("model.dtype", model.dtype, {{"f32", DType::f32}, {"bf16", DType::bf16}},
                        "type of products' inputs");
    table.choice<model::Recompute>("model.recompute", model.recompute,
                                   {{"none", model::Recompute::none}, {"block", model::Recompute::block}},
                                   "recompute activations of blocks in backward to save memory");
}

void moe_options(Table& table, model::MoeConfig& moe) {
    table.text("moe.layers", moe.layers,
               "which layers are mixtures: all, none, every:N or a list such as 1,3");
    table.number<index_t>("moe.experts", moe.experts, 1, 1000000, "routed experts of a layer");
    table.number<index_t>("moe.top_k", moe.top_k, 1, 1000, "experts a token is sent to");
    table.number<index_t>("moe.expert_width", moe.expert_width, 1, kMany, "inner width of an expert");
    table.number<index_t>("moe.shared_experts", moe.shared_experts, 0, 1000,
                          "experts that every token visits");
    table.text("moe.router", moe.router, "routing strategy: softmax_top_k");
    table.flag("moe.renormalise", moe.renormalise, "divide the chosen scores by their sum");
    table.number("moe.capacity_factor", moe.capacity_factor, 0.0, 1e6,
                 "slots of an expert over the even share; 0: dropless");
    table.number<index_t>("moe.min_capacity", moe.min_capacity, 0, kMany, "least slots of an expert");
    table.number("moe.balance_loss", moe.balance_loss, 0.0, 1e3, "coefficient of the Switch balance loss");
    table.number("moe.z_loss", moe.z_loss, 0.0, 1e3, "coefficient of the router z-loss");
    table.number("moe.jitter", moe.jitter, 0.0, 0.99, "router input times 1 +- jitter, in training");
}

void run_options(Table& table, Config& config) {
    TrainConfig& train = config.train;
    table.number<index_t>("train.steps", train.steps, 1, kMany, "optimizer steps");
    table.number<index_t>("train.global_batch", train.global_batch, 1, kMany,
                          "sequences of a step, whatever the number of ranks");
    table.number<index_t>("train.accumulation", train.accumulation, 1, kMany, "micro-steps of a step");
    table.number<std::uint64_t>("train.seed", train.seed, 0, kAnySeed,
                                "decides weights, data order and noise");
    table.number<index_t>("train.eval_every", train.eval_every, 0, kMany,
                          "steps between validations; 0: never");
    table.number<index_t>("train.eval_batches", train.eval_batches, 1, kMany,
                          "global batches of a validation");
    table.number<index_t>("train.max_skipped", train.max_skipped, 1, kMany,
                          "non-finite steps in a row before the run stops");
    OptimizerConfig& optimizer = config.optimizer;
    table.number("optimizer.lr", optimizer.lr, 0.0, 100.0, "peak learning rate");
    table.number("optimizer.min_lr_ratio", optimizer.min_lr_ratio, 0.0, 1.0,
                 "learning rate at the end over the peak");
    table.number<index_t>("optimizer.warmup_steps", optimizer.warmup_steps, 0, kMany,
                          "steps of linear warm-up");
    table.number("optimizer.beta1", optimizer.beta1, 0.0, 0.999999, "AdamW's first decay");
    table.number("optimizer.beta2", optimizer.beta2, 0.0, 0.999999, "AdamW's second decay");
    table.number("optimizer.eps", optimizer.eps, 0.0, 1.0, "added to the root of the second moment");
    table.number("optimizer.weight_decay", optimizer.weight_decay, 0.0, 10.0, "decoupled decay of matrices");
    table.number("optimizer.clip_norm", optimizer.clip_norm, 0.0, 1e9,
                 "largest global gradient norm; 0: no clipping");
    table.text("data.path", config.data.path, "text file to learn from, read as bytes");
    table.number("data.validation_fraction", config.data.validation_fraction, 0.0, 0.9,
                 "share of the file's end kept for validation");
    table.number<index_t>("parallel.expert_parallel", config.parallel.expert_parallel, 0, 1000000,
                          "ranks that share one copy of the experts; 0: all");
    table.number<index_t>("parallel.threads", config.parallel.threads, 0, 4096,
                          "threads of a rank; 0: cores / ranks on the node");
    table.number<index_t>("parallel.deadline_seconds", config.parallel.deadline_seconds, 1, 1000000,
                          "longest wait for another rank");
    table.choice<NumericsMode>("numerics.mode", config.numerics,
                               {{"fast", NumericsMode::fast}, {"reproducible", NumericsMode::reproducible}},
                               "reproducible: the same bits on every layout");
    table.text("run.directory", config.run.directory, "where metrics and checkpoints go");
    table.number<index_t>("run.checkpoint_every", config.run.checkpoint_every, 0, kMany,
                          "steps between checkpoints; 0: only the last");
    table.number<index_t>("run.keep_last", config.run.keep_last, 1, 100000, "checkpoints kept");
    table.number<index_t>("run.stop_after", config.run.stop_after, 0, kMany,
                          "checkpoint and leave after this step, as on SIGTERM; 0: never");
    table.number<index_t>("run.log_every", config.run.log_every, 1, kMany, "steps between progress lines");
    GenerateConfig& generate = config.generate;
    table.text("generate.prompt", generate.prompt, "text to continue");
    table.number<index_t>("generate.tokens", generate.tokens, 1, kMany,
                          "tokens to add, within model.seq_len");
    table.number("generate.temperature", generate.temperature, 0.0, 100.0, "0: always the likeliest token");
    table.number<index_t>("generate.top_k", generate.top_k, 0, kMany, "sample among the k likeliest; 0: all");
    table.number("generate.top_p", generate.top_p, 0.0, 1.0,
                 "sample among the likeliest that hold this probability");
    table.number<std::uint64_t>("generate.seed", generate.seed, 0, kAnySeed, "decides the sample");
}

/// Changes of one letter (insert, remove, replace) between two names.
std::size_t edit_distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
        }
    }
    return row.back();
}

/// The value behind "key =": text in quotes keeps its blanks and number signs, elsewhere " #" starts a comment.
std::string value_of(const std::string& text) {
    const std::string value = trim(text);
    const auto last = value.rfind('"');
    if (value.starts_with('"') && last > 0) return value.substr(1, last - 1);
    return trim(value.substr(0, value.find(" #")));
}

/// One setting: its problem goes to the list with the place it came from.
void apply(const std::vector<Option>& options, const std::string& name, const std::string& value,
           const std::string& place, std::vector<std::string>& problems) {
    const Option* nearest = nullptr;
    std::size_t least = 4;
    for (const Option& option : options) {
        if (option.name == name) {
            const std::string problem = option.set(value);
            if (!problem.empty()) problems.push_back(concat(place, ": ", name, ": ", problem));
            return;
        }
        const std::size_t distance = edit_distance(option.name, name);
        if (distance < least) {
            least = distance;
            nearest = &option;
        }
    }
    problems.push_back(concat(
        place, ": unknown option ", name,
        nearest != nullptr ? concat("; did you mean ", nearest->name, "?") : "; see switchyard help config"));
}

void apply_text(const std::vector<Option>& options, const std::string& text, const std::string& name,
                std::vector<std::string>& problems) {
    std::istringstream lines(text);
    std::string section;
    int number = 0;
    for (std::string line; std::getline(lines, line);) {
        const std::string place = concat(name, ":", ++number);
        line = trim(line);
        if (line.empty() || line.starts_with('#')) continue;
        if (line.front() == '[' && line.back() == ']') {
            section = trim(line.substr(1, line.size() - 2));
            continue;
        }
        const auto equals = line.find('=');
        if (equals == std::string::npos) {
            problems.push_back(concat(place, ": '", line, "' is neither [section] nor key = value"));
            continue;
        }
        apply(options, concat(section, ".", trim(line.substr(0, equals))), value_of(line.substr(equals + 1)),
              place, problems);
    }
}

void check_together(const Config& config, std::vector<std::string>& problems) {
    for (const std::string& problem : model::model_problems(config.model, config.moe))
        problems.push_back(problem);
    if (config.train.global_batch % config.train.accumulation != 0) {
        problems.push_back(concat("train.accumulation = ", config.train.accumulation,
                                  " does not divide train.global_batch = ", config.train.global_batch,
                                  "; use a divisor"));
    }
    if (config.model.vocab_size < 256) {
        problems.push_back(
            concat("model.vocab_size = ", config.model.vocab_size, " is less than the 256 bytes; use 256"));
    }
}

}  // namespace

std::vector<Option> options_of(Config& config) {
    Table table;
    model_options(table, config.model);
    moe_options(table, config.moe);
    run_options(table, config);
    return table.take();
}

Config load_config(const ConfigSources& sources) {
    Config config;
    const std::vector<Option> options = options_of(config);
    std::vector<std::string> problems;
    if (!sources.file.empty()) {
        std::ifstream file(sources.file);
        if (!file)
            throw IoError(
                concat("config: cannot open ", sources.file, "; check the name given with --config"));
        std::ostringstream text;
        text << file.rdbuf();
        apply_text(options, text.str(), sources.file, problems);
    }
    for (const Option& option : options) {
        std::string variable = "SWITCHYARD_" + option.name;
        std::transform(variable.begin(), variable.end(), variable.begin(),
                       [](unsigned char c) { return c == '.' ? '_' : static_cast<char>(std::toupper(c)); });
        if (const char* value = std::getenv(variable.c_str()))
            apply(options, option.name, value, variable, problems);
    }
    for (const std::string& assignment : sources.assignments) {
        const auto equals = assignment.find('=');
        if (equals == std::string::npos) {
            problems.push_back(concat("--set ", assignment, ": write section.key=value"));
        } else {
            apply(options, trim(assignment.substr(0, equals)), trim(assignment.substr(equals + 1)), "--set",
                  problems);
        }
    }
    check_together(config, problems);
    if (!problems.empty()) throw ConfigError(problems);
    return config;
}

Config parse_config(const std::string& text, const std::string& name) {
    Config config;
    std::vector<std::string> problems;
    apply_text(options_of(config), text, name, problems);
    check_together(config, problems);
    if (!problems.empty()) throw ConfigError(problems);
    return config;
}

std::string dump(const Config& config) {
    Config copy = config;
    std::string text;
    std::string section;
    for (const Option& option : options_of(copy)) {
        const auto dot = option.name.find('.');
        if (option.name.substr(0, dot) != section) {
            section = option.name.substr(0, dot);
            text += concat(text.empty() ? "" : "\n", "[", section, "]\n");
        }
        const char* const quote = option.kind == "text" ? "\"" : "";
        text += concat(option.name.substr(dot + 1), " = ", quote, option.get(), quote, "\n");
    }
    return text;
}

std::string config_help() {
    Config defaults;
    std::string text =
        "Options: in a file as [section] and key = value, as --set section.key=value, or in the environment "
        "as\n"
        "SWITCHYARD_SECTION_KEY. Later ones win in this order: file, environment, --set.\n\n";
    for (const Option& option : options_of(defaults)) {
        std::string left = concat("  ", option.name, " = ", option.get());
        left.resize(std::max<std::size_t>(left.size() + 1, 44), ' ');
        text += left + option.help + " (" + option.kind + ")\n";
    }
    return text;
}

}  // namespace sy::runtime
