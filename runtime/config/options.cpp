#include "runtime/config/option.hpp"

#include <limits>

#include "model/moe/router.hpp"
#include "runtime/data/tokenizer.hpp"

namespace sy::runtime {
namespace {

/// Widths and counts that a machine could hold, and steps that a run could take.
constexpr index_t kMostWidth = 10'000'000;
constexpr index_t kMostSteps = 1'000'000'000'000;
constexpr std::uint64_t kAnySeed = std::numeric_limits<std::uint64_t>::max();

void model_options(OptionTable& table, model::ModelConfig& model) {
    using model::Recompute;
    table.whole<index_t>({"model.vocab_size", "tokens", "size of the vocabulary; 256 for bytes"},
                         model.vocab_size, 2, kMostWidth);
    table.whole<index_t>({"model.hidden", "", "width of the residual stream"}, model.hidden, 1, kMostWidth);
    table.whole<index_t>({"model.layers", "", "number of blocks"}, model.layers, 1, 10000);
    table.whole<index_t>({"model.heads", "", "query heads"}, model.heads, 1, 100000);
    table.whole<index_t>({"model.kv_heads", "", "key and value heads; fewer than heads: grouped queries"},
                         model.kv_heads, 1, 100000);
    table.whole<index_t>({"model.head_dim", "", "width of a head; 0: hidden / heads"}, model.head_dim, 0,
                         100000);
    table.whole<index_t>({"model.ffn_width", "", "inner width of dense feed-forwards"}, model.ffn_width, 1,
                         kMostWidth);
    table.whole<index_t>({"model.seq_len", "tokens", "length of a sequence"}, model.seq_len, 1, kMostWidth);
    table.number({"model.rope_theta", "", "base of the rotary wavelengths"}, model.rope_theta, 1.0, 1e12);
    table.number({"model.norm_eps", "", "added to the mean square in RMSNorm"}, model.norm_eps, 1e-12, 1.0);
    table.flag({"model.tied_head", "", "use the embedding as the output projection"}, model.tied_head);
    table.number({"model.init_std", "", "standard deviation of initial weights"}, model.init_std, 0.0, 10.0);
    table.choice<DType>({"model.dtype", "", "type of the inputs of matrix products"}, model.dtype,
                        {{"f32", DType::f32}, {"bf16", DType::bf16}});
    table.choice<Recompute>(
        {"model.recompute", "", "compute a block's activations again in backward, to save memory"},
        model.recompute, {{"none", Recompute::none}, {"block", Recompute::block}});
}

void moe_options(OptionTable& table, model::MoeConfig& moe) {
    std::vector<std::pair<std::string, std::string>> routers;
    for (const std::string& name : model::router_names()) routers.emplace_back(name, name);
    table.text({"moe.layers", "", "which layers are mixtures: all, none, every:N, or a list such as 1,3"},
               moe.layers);
    table.whole<index_t>({"moe.experts", "", "routed experts of a layer"}, moe.experts, 1, 1'000'000);
    table.whole<index_t>({"moe.top_k", "", "experts a token is sent to"}, moe.top_k, 1, 1000);
    table.whole<index_t>({"moe.expert_width", "", "inner width of an expert"}, moe.expert_width, 1,
                         kMostWidth);
    table.whole<index_t>({"moe.shared_experts", "", "experts that every token visits"}, moe.shared_experts, 0,
                         1000);
    table.choice<std::string>({"moe.router", "", "routing strategy"}, moe.router, std::move(routers));
    table.flag({"moe.renormalise", "", "divide the chosen scores by their sum"}, moe.renormalise);
    table.number({"moe.capacity_factor", "",
                  "slots of an expert over its even share of the global batch; 0: dropless"},
                 moe.capacity_factor, 0.0, 1e6);
    table.whole<index_t>({"moe.min_capacity", "tokens", "least slots of an expert"}, moe.min_capacity, 0,
                         kMostSteps);
    table.number({"moe.balance_loss", "", "coefficient of the Switch balance loss"}, moe.balance_loss, 0.0,
                 1e3);
    table.number({"moe.z_loss", "", "coefficient of the router z-loss"}, moe.z_loss, 0.0, 1e3);
    table.number({"moe.jitter", "", "router input times 1 - jitter to 1 + jitter, in training"}, moe.jitter,
                 0.0, 0.99);
}

void train_options(OptionTable& table, TrainConfig& train) {
    table.whole<index_t>({"train.steps", "steps", "length of the run, and of the learning rate's cosine"},
                         train.steps, 1, kMostSteps);
    table.whole<index_t>({"train.global_batch", "sequences", "batch of a step, whatever the number of ranks"},
                         train.global_batch, 1, kMostWidth);
    table.whole<index_t>({"train.accumulation", "", "micro-steps of a step"}, train.accumulation, 1,
                         kMostWidth);
    table.whole<std::uint64_t>({"train.seed", "", "decides weights, data order and noise"}, train.seed, 0,
                               kAnySeed);
    table.whole<index_t>({"train.eval_every", "steps", "between validations; 0: never"}, train.eval_every, 0,
                         kMostSteps);
    table.whole<index_t>({"train.eval_batches", "", "global batches of a validation"}, train.eval_batches, 1,
                         kMostSteps);
    table.whole<index_t>(
        {"train.max_skipped", "steps", "with a non-finite gradient in a row before the run stops"},
        train.max_skipped, 1, kMostSteps);
}

void optimizer_options(OptionTable& table, OptimizerConfig& optimizer) {
    table.number({"optimizer.lr", "", "peak learning rate"}, optimizer.lr, 0.0, 100.0);
    table.number({"optimizer.min_lr_ratio", "", "learning rate of the last step over the peak"},
                 optimizer.min_lr_ratio, 0.0, 1.0);
    table.whole<index_t>({"optimizer.warmup_steps", "steps", "of linear warm-up"}, optimizer.warmup_steps, 0,
                         kMostSteps);
    table.number({"optimizer.beta1", "", "AdamW's decay of the first moment"}, optimizer.beta1, 0.0,
                 0.999999);
    table.number({"optimizer.beta2", "", "AdamW's decay of the second moment"}, optimizer.beta2, 0.0,
                 0.999999);
    table.number({"optimizer.eps", "", "added to the root of the second moment"}, optimizer.eps, 1e-20, 1.0);
    table.number({"optimizer.weight_decay", "", "decoupled decay of matrices"}, optimizer.weight_decay, 0.0,
                 10.0);
    table.number({"optimizer.clip_norm", "", "largest global gradient norm; 0: no clipping"},
                 optimizer.clip_norm, 0.0, 1e9);
}

void data_options(OptionTable& table, DataConfig& data) {
    std::vector<std::pair<std::string, std::string>> tokenizers;
    for (const std::string& name : tokenizer_names()) tokenizers.emplace_back(name, name);
    table.text({"data.path", "",
                "text to learn from: a file, or several joined by commas, read one after the other"},
               data.path);
    table.choice<std::string>({"data.tokenizer", "", "how text becomes tokens"}, data.tokenizer,
                              std::move(tokenizers));
    table.number({"data.validation_fraction", "", "share of the text, at its end, kept for validation"},
                 data.validation_fraction, 0.0, 0.9);
}

void parallel_options(OptionTable& table, ParallelConfig& parallel) {
    table.whole<index_t>(
        {"parallel.ranks", "ranks", "that the run must have; 0: whatever the launcher starts"},
        parallel.ranks, 0, 1'000'000);
    table.whole<index_t>({"parallel.expert_parallel", "ranks", "that share one copy of the experts; 0: all"},
                         parallel.expert_parallel, 0, 1'000'000);
    table.whole<index_t>({"parallel.threads", "threads", "of a rank; 0: cores / ranks on the node"},
                         parallel.threads, 0, 4096);
    table.whole<index_t>({"parallel.deadline_seconds", "s", "longest wait for another rank"},
                         parallel.deadline_seconds, 1, 1'000'000);
}

void run_options(OptionTable& table, RunConfig& run) {
    table.text({"run.directory", "", "where metrics and checkpoints go"}, run.directory);
    table.whole<index_t>({"run.checkpoint_every", "steps", "between checkpoints; 0: only the last"},
                         run.checkpoint_every, 0, kMostSteps);
    table.whole<index_t>({"run.keep_last", "", "checkpoints kept"}, run.keep_last, 1, 100000);
    table.whole<index_t>(
        {"run.stop_after", "", "step after which to checkpoint and leave, as on SIGTERM; 0: none"},
        run.stop_after, 0, kMostSteps);
    table.whole<index_t>({"run.log_every", "steps", "between progress lines"}, run.log_every, 1, kMostSteps);
}

void checkpoint_options(OptionTable& table, CheckpointConfig& checkpoint) {
    table.choice<CheckpointLayout>(
        {"checkpoint.layout", "", "one file a rank, or one file that all ranks write together"},
        checkpoint.layout, {{"sharded", CheckpointLayout::sharded}, {"single", CheckpointLayout::single}});
    table.flag({"checkpoint.background", "",
                "write from a copy in memory while training goes on; a single file never is"},
               checkpoint.background);
}

void generate_options(OptionTable& table, GenerateConfig& generate) {
    table.text({"generate.prompt", "", "text to continue"}, generate.prompt);
    table.whole<index_t>({"generate.tokens", "tokens", "to add; with the prompt at most model.seq_len"},
                         generate.tokens, 1, kMostWidth);
    table.number({"generate.temperature", "", "0: always the likeliest token"}, generate.temperature, 0.0,
                 100.0);
    table.whole<index_t>({"generate.top_k", "tokens", "sample among the likeliest; 0: all"}, generate.top_k,
                         0, kMostWidth);
    table.number({"generate.top_p", "", "sample among the likeliest that hold this probability"},
                 generate.top_p, 0.0, 1.0);
    table.whole<std::uint64_t>({"generate.seed", "", "decides the sample"}, generate.seed, 0, kAnySeed);
}

}  // namespace

std::vector<Option> options_of(Config& config) {
    OptionTable table;
    model_options(table, config.model);
    moe_options(table, config.moe);
    train_options(table, config.train);
    optimizer_options(table, config.optimizer);
    data_options(table, config.data);
    parallel_options(table, config.parallel);
    table.choice<NumericsMode>({"numerics.mode", "", "reproducible: the same bits on every layout"},
                               config.numerics,
                               {{"fast", NumericsMode::fast}, {"reproducible", NumericsMode::reproducible}});
    run_options(table, config.run);
    checkpoint_options(table, config.checkpoint);
    generate_options(table, config.generate);
    return table.take();
}

std::vector<std::string> problems_together(const Config& config) {
    std::vector<std::string> problems = model::model_problems(config.model, config.moe);
    const auto require = [&](bool good, const std::string& text) {
        if (!good) problems.push_back(text);
    };
    const TrainConfig& train = config.train;
    require(train.global_batch % train.accumulation == 0,
            concat("train.accumulation = ", train.accumulation,
                   " does not divide train.global_batch = ", train.global_batch, "; use a divisor"));
    require(config.model.vocab_size >= 256 || config.data.tokenizer != "bytes",
            concat("model.vocab_size = ", config.model.vocab_size,
                   " is less than the 256 tokens of data.tokenizer = bytes; use 256"));
    require(config.run.directory != "", "run.directory is empty; name a folder");
    return problems;
}

}  // namespace sy::runtime
