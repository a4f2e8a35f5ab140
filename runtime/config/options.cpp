#include <limits>

#include "runtime/config/option.hpp"
#include "runtime/config/option_sections.hpp"

namespace sy::runtime {
namespace {

constexpr std::uint64_t kAnySeed = std::numeric_limits<std::uint64_t>::max();

void train_options(OptionTable& table, TrainConfig& train) {
    table.whole<index_t>({"train.steps", "steps", "length of the run, and of the learning rate's cosine"},
                         train.steps, 1, kMostSteps);
    table.whole<index_t>({"train.global_batch", "sequences", "batch of a step, whatever the number of ranks"},
                         train.global_batch, 1, kMostWidth);
    table.whole<index_t>({"train.accumulation", "", "micro-steps of a step"}, train.accumulation, 1,
                         kMostWidth);
    table.whole<std::uint64_t>({"train.seed", "", "decides weights, data order and noise"}, train.seed, 0,
                               kAnySeed);
    table.whole<index_t>({"train.eval_every", "steps",
                          "steps between validations; 0, or without data.validation_fraction: never"},
                         train.eval_every, 0, kMostSteps);
    table.whole<index_t>(
        {"train.eval_batches", "", "global batches of a validation, whatever the accumulation"},
        train.eval_batches, 1, kMostSteps);
    table.whole<index_t>(
        {"train.max_skipped", "steps", "steps in a row with a non-finite gradient before the run stops"},
        train.max_skipped, 1, kMostSteps);
    table.text({"train.freeze", "",
                "parameters that stay as they are, by name: patterns with * and ?, joined by commas"},
               train.freeze);
}

void optimizer_options(OptionTable& table, OptimizerConfig& optimizer) {
    table.number({"optimizer.lr", "", "peak learning rate"}, optimizer.lr, 0.0, 100.0);
    table.number({"optimizer.min_lr_ratio", "", "learning rate of the last step over the peak"},
                 optimizer.min_lr_ratio, 0.0, 1.0);
    table.whole<index_t>({"optimizer.warmup_steps", "steps", "steps of linear warm-up"},
                         optimizer.warmup_steps, 0, kMostSteps);
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
    table.text(
        {"data.path", "",
         "texts or token files to learn from, joined by commas: read one after the other, or as NAME:WEIGHT "
         "each in proportion to its weight"},
        data.path);
    table.text(
        {"data.tokenizer", "",
         "how text becomes tokens: bytes, or a tokenizer.json, a tokenizer.model or a folder with one"},
        data.tokenizer);
    table.choice<Documents>({"data.documents", "",
                             "separate: attention does not cross from one document of a window to the next"},
                            data.documents,
                            {{"joined", Documents::joined}, {"separate", Documents::separate}});
    table.number({"data.validation_fraction", "", "share of the tokens, at the end, kept for validation"},
                 data.validation_fraction, 0.0, 0.9);
    table.choice<ChangedData>(
        {"data.changed", "",
         "resuming on another text; accept: samples consumed count windows of a text that was not read"},
        data.changed, {{"refuse", ChangedData::refuse}, {"accept", ChangedData::accept}});
}

void parallel_options(OptionTable& table, ParallelConfig& parallel) {
    table.whole<index_t>(
        {"parallel.ranks", "ranks", "ranks that the run must have; 0: whatever the launcher starts"},
        parallel.ranks, 0, 1'000'000);
    table.whole<index_t>(
        {"parallel.expert_parallel", "ranks", "ranks that share one copy of the experts; 0: all"},
        parallel.expert_parallel, 0, 1'000'000);
    table.choice<DeviceKind>(
        {"parallel.device", "",
         "what a rank computes on: its processors, or a GPU of its own (switchyard doctor)"},
        parallel.device, {{"cpu", DeviceKind::cpu}, {"cuda", DeviceKind::cuda}});
    table.whole<index_t>(
        {"parallel.threads", "threads", "threads of a rank; 0: its share of the processors it may run on"},
        parallel.threads, 0, 4096);
    table.whole<index_t>({"parallel.deadline_seconds", "s", "longest wait for another rank"},
                         parallel.deadline_seconds, 1, 1'000'000);
    table.choice<PlacementRule>(
        {"parallel.placement", "",
         "placement of experts on ranks: in equal runs, or balanced by measured load"},
        parallel.placement, {{"block", PlacementRule::block}, {"balanced", PlacementRule::balanced}});
    table.choice<ExchangeSetting>(
        {"parallel.exchange", "",
         "how rows travel: flat, once to each rank; hierarchical, once to each "
         "node, whose ranks share memory or, as GPUs, pass it on; one_sided, as flat but by puts of UCX, or "
         "(experimental) of kernels into the memory of other GPUs"},
        parallel.exchange,
        {{"auto", ExchangeSetting::automatic},
         {"flat", ExchangeSetting::flat},
         {"hierarchical", ExchangeSetting::hierarchical},
         {"one_sided", ExchangeSetting::one_sided}});
    table.text({"parallel.exchange_table", "",
                "file of switchyard bench exchange --exchange-table, by which parallel.exchange = auto goes"},
               parallel.exchange_table);
    table.whole<index_t>({"parallel.rebalance_every", "steps", "steps between balanced placements; 0: never"},
                         parallel.rebalance_every, 0, kMostSteps);
    table.whole<index_t>({"parallel.spare_experts", "",
                          "places of a rank for each layer's experts beyond its even share, rounded up"},
                         parallel.spare_experts, 0, 1'000'000);
}

void run_options(OptionTable& table, RunConfig& run) {
    table.text({"run.directory", "", "where metrics and checkpoints go"}, run.directory);
    table.whole<index_t>({"run.checkpoint_every", "steps", "steps between checkpoints; 0: only the last"},
                         run.checkpoint_every, 0, kMostSteps);
    table.whole<index_t>({"run.keep_last", "", "checkpoints kept"}, run.keep_last, 1, 100000);
    table.whole<index_t>(
        {"run.stop_after", "", "step after which to checkpoint and leave, as on SIGTERM; 0: none"},
        run.stop_after, 0, kMostSteps);
    table.whole<index_t>({"run.log_every", "steps", "steps between progress lines"}, run.log_every, 1,
                         kMostSteps);
    table.flag({"run.drop_ledger", "", "list every dropped choice in run.directory/drops.jsonl"},
               run.drop_ledger);
    table.flag(
        {"run.lock", "", "keep other runs out of run.directory; no: where its file system has no locks"},
        run.lock);
}

void checkpoint_options(OptionTable& table, CheckpointConfig& checkpoint) {
    table.choice<CheckpointLayout>(
        {"checkpoint.layout", "", "one file a rank, or one file that all ranks write together"},
        checkpoint.layout, {{"sharded", CheckpointLayout::sharded}, {"single", CheckpointLayout::single}});
    table.flag({"checkpoint.background", "",
                "write from a copy in memory while training goes on; a single file never is"},
               checkpoint.background);
}

void telemetry_options(OptionTable& table, TelemetryConfig& telemetry) {
    table.text({"telemetry.routing_trace", "",
                "steps whose routing goes to run.directory/routing: none, every:N, or a list as 10,200"},
               telemetry.routing_trace);
    table.text(
        {"telemetry.trace", "",
         "steps whose time on all ranks goes to run.directory/trace-10-12.json: none, 10, or steps 10-12"},
        telemetry.trace);
}

void generate_options(OptionTable& table, GenerateConfig& generate) {
    table.text({"generate.prompt", "", "text to continue, or with gaps that an encoder fills"},
               generate.prompt);
    table.text(
        {"generate.prompts", "",
         "file of prompts: one a line, or in .jsonl {\"prompt\": TEXT} a line; empty: generate.prompt"},
        generate.prompts);
    table.text(
        {"generate.gap", "", "in the prompt: a masked token (encoder) or corrupted span (encoder_decoder)"},
        generate.gap);
    table.whole<index_t>(
        {"generate.tokens", "tokens", "tokens to generate; with the prompt at most model.seq_len"},
        generate.tokens, 1, kMostWidth);
    table.whole<index_t>({"generate.batch", "sequences", "sequences that each rank generates at once"},
                         generate.batch, 1, 65536);
    table.number({"generate.temperature", "", "0: always the likeliest token"}, generate.temperature, 0.0,
                 100.0);
    table.whole<index_t>({"generate.top_k", "tokens", "sample among the likeliest; 0: all"}, generate.top_k,
                         0, kMostWidth);
    table.number({"generate.top_p", "", "sample among the likeliest that hold this probability"},
                 generate.top_p, 0.0, 1.0);
    table.number(
        {"generate.min_p", "", "sample among those at least so likely as this part of the likeliest"},
        generate.min_p, 0.0, 1.0);
    table.number({"generate.repetition_penalty", "",
                  "logits of earlier tokens over this where positive, times this where negative; 1: none"},
                 generate.repetition_penalty, 1e-3, 1e3);
    table.whole<std::uint64_t>({"generate.seed", "", "decides the sample"}, generate.seed, 0, kAnySeed);
    table.text({"generate.stop", "", "text before which a result is cut; several as a JSON array of strings"},
               generate.stop);
    table.choice<GenerateOutput>(
        {"generate.output", "", "texts, or a JSON object a line with tokens and log-probabilities"},
        generate.output, {{"text", GenerateOutput::text}, {"jsonl", GenerateOutput::jsonl}});
    table.flag({"generate.prompt_logprobs", "", "log-probabilities of the prompts' tokens too, in jsonl"},
               generate.prompt_logprobs);
}

void eval_options(OptionTable& table, EvalConfig& eval) {
    table.text({"eval.text", "", "file whose perplexity is wanted; empty: the validation loss of data.path"},
               eval.text);
    table.choice<EvalMethod>(
        {"eval.method", "",
         "windows one after the other, second halves scored as llama-perplexity, or overlapping windows"},
        eval.method,
        {{"windows", EvalMethod::windows},
         {"llama.cpp", EvalMethod::llama_cpp},
         {"sliding", EvalMethod::sliding}});
    table.whole<index_t>({"eval.context", "tokens", "window; 0: model.seq_len"}, eval.context, 0, kMostWidth);
    table.whole<index_t>({"eval.stride", "tokens", "from one sliding window to the next; 0: half a window"},
                         eval.stride, 0, kMostWidth);
}

}  // namespace

std::vector<Option> options_of(Config& config) {
    OptionTable table;
    add_model_sections(table, config.model, config.moe);
    train_options(table, config.train);
    optimizer_options(table, config.optimizer);
    data_options(table, config.data);
    parallel_options(table, config.parallel);
    table.choice<NumericsMode>({"numerics.mode", "", "reproducible: the same bits on every layout"},
                               config.numerics,
                               {{"fast", NumericsMode::fast}, {"reproducible", NumericsMode::reproducible}});
    run_options(table, config.run);
    checkpoint_options(table, config.checkpoint);
    telemetry_options(table, config.telemetry);
    generate_options(table, config.generate);
    eval_options(table, config.eval);
    return table.take();
}

std::vector<std::string> joint_problems(const Config& config) {
    std::vector<std::string> problems = model::model_problems(config.model, config.moe);
    const auto require = [&](bool good, const std::string& text) {
        if (!good) problems.push_back(text);
    };
    const TrainConfig& train = config.train;
    require(train.global_batch % train.accumulation == 0,
            concat("train.accumulation = ", train.accumulation,
                   " does not divide train.global_batch = ", train.global_batch, "; use a divisor"));
    require(
        config.numerics == NumericsMode::fast || config.moe.capacity_scope == model::CapacityScope::global,
        "numerics.mode = reproducible promises the same bits on every layout, which moe.capacity_scope = "
        "local cannot give; use moe.capacity_scope = global or numerics.mode = fast");
    require(config.data.documents == Documents::joined ||
                config.model.architecture == model::Architecture::decoder,
            "data.documents = separate keeps documents apart in decoders alone; use data.documents = joined");
    require(config.generate.gap != "",
            "generate.gap is empty; take a text that stands nowhere else in generate.prompt");
    require(config.run.directory != "", "run.directory is empty; name a folder");
    const std::string steps = step_pattern_problem(config.telemetry.routing_trace);
    require(steps.empty(), concat("telemetry.routing_trace = ", steps));
    const std::string traced = traced_steps_problem(config.telemetry.trace);
    require(traced.empty(), concat("telemetry.trace = ", traced));
    const ParallelConfig& parallel = config.parallel;
    const bool balanced = parallel.placement == PlacementRule::balanced;
    require(
        balanced || (parallel.rebalance_every == 0 && parallel.spare_experts == 0),
        concat("parallel.rebalance_every = ", parallel.rebalance_every,
               " and parallel.spare_experts = ", parallel.spare_experts,
               " change nothing with parallel.placement = block; use 0, or parallel.placement = balanced"));
    require(!balanced || parallel.rebalance_every > 0,
            "parallel.placement = balanced measures load first: set parallel.rebalance_every to some steps");
    return problems;
}

}  // namespace sy::runtime
