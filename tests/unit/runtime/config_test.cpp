#include <catch2/catch.hpp>

#include <cstdlib>

#include "runtime/config/option.hpp"
#include "runtime/json/json.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;
using namespace sy::runtime;
using sy::test::TestFolder;
using Problems = std::vector<std::string>;

// Every file system can write one file a rank; several nodes in one file is more than NFS promises.
static_assert(CheckpointConfig{}.layout == CheckpointLayout::sharded);

namespace {

/// A variable of the environment while the test runs.
class Environment {
  public:
    Environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;
    ~Environment() { ::unsetenv(name_); }

  private:
    const char* name_;
};

Problems problems_of(const std::function<void()>& attempt) {
    try {
        attempt();
    } catch (const ConfigError& error) {
        return error.problems();
    }
    return {};
}

Problems file_problems(const std::string& text) {
    return problems_of([&] { parse_config(text, "run.conf"); });
}

Problems set_problems(const std::vector<std::string>& assignments) {
    return problems_of([&] { load_config({"", assignments}); });
}

}  // namespace

TEST_CASE("config: each wrong line of a file is named with its place, what is expected and what to try",
          "[unit]") {
    const auto [text, problem] = GENERATE(table<std::string, std::string>({
        {"[train]\nsteps = many",
         "run.conf:2: train.steps: 'many' is not a whole number from 1 to 1000000000000; the default is 200"},
        {"[train]\nsteps = 0",
         "run.conf:2: train.steps: '0' is not a whole number from 1 to 1000000000000; try 1"},
        {"[train]\nsteps = 1e3",
         "run.conf:2: train.steps: '1e3' is not a whole number from 1 to 1000000000000; try 1000"},
        {"[train]\nsteps = 2.7",
         "run.conf:2: train.steps: '2.7' is not a whole number from 1 to 1000000000000; try 3"},
        {"[train]\nsteps = 5 steps",
         "run.conf:2: train.steps: '5 steps' is not a whole number from 1 to 1000000000000; try 5"},
        {"[train]\nsteps = 10k",
         "run.conf:2: train.steps: '10k' is not a whole number from 1 to 1000000000000; try 10000"},
        {"[train]\nsteps = 1.5M",
         "run.conf:2: train.steps: '1.5M' is not a whole number from 1 to 1000000000000; try 1500000"},
        {"[train]\nsteps = 10 apples",
         "run.conf:2: train.steps: '10 apples' is not a whole number from 1 to 1000000000000; the default is "
         "200"},
        {"[train]\nsteps =",
         "run.conf:2: train.steps: '' is not a whole number from 1 to 1000000000000; the default is 200"},
        {"[train]\nseed = -1", "run.conf:2: train.seed: '-1' is not a whole number of at least 0; try 0"},
        {"[train]\nseed = 18446744073709551616",
         "run.conf:2: train.seed: '18446744073709551616' is not a whole number of at least 0; try "
         "18446744073709551615"},
        {"[optimizer]\nbeta1 = 1",
         "run.conf:2: optimizer.beta1: '1' is not a number from 0 to 0.999999; try 0.999999"},
        {"[optimizer]\nlr = nan",
         "run.conf:2: optimizer.lr: 'nan' is not a number from 0 to 100; the default is 0.001"},
        {"[optimizer]\nlr = 0,1", "run.conf:2: optimizer.lr: '0,1' is not a number from 0 to 100; try 0.1"},
        {"[model]\ntied_head = Yess", "run.conf:2: model.tied_head: 'Yess' is not one of no|yes; try yes"},
        {"[model]\ntied_head = 2",
         "run.conf:2: model.tied_head: '2' is not one of no|yes; the default is no"},
        {"[model]\ndtype = bf61", "run.conf:2: model.dtype: 'bf61' is not one of f32|bf16; try bf16"},
        {"[numerics]\nmode = exact",
         "run.conf:2: numerics.mode: 'exact' is not one of fast|reproducible; the default is fast"},
        {"[model]\nhiden = 3", "run.conf:2: unknown option model.hiden; did you mean model.hidden?"},
        {"[train]\nhidden = 3", "run.conf:2: unknown option train.hidden; did you mean model.hidden?"},
        {"[train]\ncompletely_else = 3",
         "run.conf:2: unknown option train.completely_else; see switchyard help config"},
        {"[trian]\nsteps = 3\nseed = 4", "run.conf:2: unknown section [trian]; did you mean train?"},
        {"steps = 3", "run.conf:1: steps stands before any [section]; did you mean train.steps?"},
        {"[train]\n\n# a comment\nsteps 3", "run.conf:4: 'steps 3' is neither [section] nor key = value"},
        {"[train\nsteps = 3\n[train]", "run.conf:1: '[train' is no [section]"},
        {"[train]\nsteps = 3\nsteps = 4", "run.conf:3: steps is set already at run.conf:2; remove one"},
        {"[generate]\nprompt = \"open", "run.conf:2: prompt: the closing quote is missing"},
        {"[generate]\nprompt = \"a\" b",
         "run.conf:2: prompt: 'b' follows the closing quote; remove it, or write \\\" for a quote inside"},
        {"[generate]\nprompt = \"\\q\"",
         "run.conf:2: prompt: '\\q' is no escape; use \\n, \\t, \\\", \\\\ or \\xHH (lower case)"},
    }));
    INFO(text);
    const Problems found = file_problems(text);
    REQUIRE_FALSE(found.empty());
    CHECK(found.front() == problem);
    // A section that is not closed leaves its keys without one; everything else is a single problem.
    CHECK(found.size() == (text.starts_with("[train\n") ? 2 : 1));
}

TEST_CASE("config: contradictions name the values, the remedy and where both were set", "[unit]") {
    const auto [text, problem] = GENERATE(table<std::string, std::string>({
        {"[moe]\ntop_k = 9",
         "moe.top_k = 9 is more than moe.experts = 8; lower it or add experts (moe.top_k from run.conf:2)"},
        {"[model]\nheads = 6\nkv_heads = 4\nhead_dim = 32",
         "model.kv_heads = 4 does not divide model.heads = 6; use a divisor (model.heads from run.conf:2, "
         "model.kv_heads "
         "from run.conf:3)"},
        {"[model]\nheads = 6\nkv_heads = 6",
         "model.heads = 6 does not divide model.hidden = 256; change one, or set model.head_dim (model.heads "
         "from "
         "run.conf:2)"},
        {"[model]\nhead_dim = 33",
         "position.rope_fraction = 1 of the head width 33 is no even number of columns; change it or "
         "model.head_dim (model.head_dim from run.conf:2)"},
        {"[model]\nlogit_softcap = 1e-320",
         "model.logit_softcap = 9.99989e-321 cannot be divided by; set 0 for no cap, or at least 0.001 "
         "(Gemma 2: 30 "
         "and 50) (model.logit_softcap from run.conf:2)"},
        {"[attention]\nsoftcap = 1e-5",
         "attention.softcap = 1e-05 cannot be divided by; set 0 for no cap, or at least 0.001 (Gemma 2: 30 "
         "and 50) "
         "(attention.softcap from run.conf:2)"},
        {"[attention]\nscale = 1e-40",
         "attention.scale = 1e-40 leaves nothing of the scores; set 0 for 1 / sqrt(head width), or at least "
         "1e-6 "
         "(attention.scale from run.conf:2)"},
        {"[position]\nrope_scaling = yarn\nrope_original_len = 64\nrope_theta = 1",
         "position.rope_scaling = yarn divides by the logarithm of position.rope_theta = 1; set it above 1 "
         "(position.rope_theta from run.conf:4, position.rope_scaling from run.conf:2)"},
        {"[model]\nhead_dim = 2\n[position]\nrope_scaling = ntk",
         "position.rope_scaling = ntk stretches the wavelengths between the first and the last pair of "
         "columns, and "
         "2 are rotated; rotate more, or use another scaling (position.rope_scaling from run.conf:4)"},
        {"[train]\naccumulation = 3",
         "train.accumulation = 3 does not divide train.global_batch = 16; use a divisor (train.accumulation "
         "from "
         "run.conf:2)"},
        {"[moe]\nlayers = 1,4",
         "moe.layers = 1,4: '4' is not a layer 0 to 3; use all, none, every:N, from:N or a list of layers "
         "(moe.layers from "
         "run.conf:2)"},
        {"[moe]\nlayers = every:0",
         "moe.layers = every:0: every:N needs a whole number N >= 1 (moe.layers from run.conf:2)"},
        {"[run]\ndirectory = \"\"", "run.directory is empty; name a folder (run.directory from run.conf:2)"},
    }));
    INFO(text);
    CHECK(file_problems(text) == Problems{problem});
}

TEST_CASE("config: another router is one setting; losses that were requested are held against it", "[unit]") {
    const auto losses = [](const std::string& text) {
        const model::BalanceConfig balance = parse_config(text, "run.conf").moe.balance;
        return std::pair(balance.switch_loss, balance.z_loss);
    };
    using Losses = std::pair<double, double>;
    for (const char* const router : {"top_k", "reinforce"})
        CHECK(losses(concat("[moe]\nrouter = ", router)) == Losses{0.01, 0.001});
    CHECK(losses("[moe]\nrouter = sinkhorn") == Losses{0.0, 0.001});
    CHECK(losses("[moe]\nrouter = base\ntop_k = 1") == Losses{0.0, 0.001});
    CHECK(losses("[moe]\nrouter = expert_choice\nallow_noncausal = yes") == Losses{0.0, 0.001});
    CHECK(losses("[moe]\nrouter = hash") == Losses{0.0, 0.0});
    CHECK(file_problems("[moe]\nrouter = sinkhorn\n[balance]\nswitch_loss = 0.01") ==
          Problems{
              "moe.router = sinkhorn balances the load by its choice, and balance.switch_loss = 0.01; set it "
              "to 0 (moe.router from run.conf:2, balance.switch_loss from run.conf:4)"});
    CHECK(file_problems("[moe]\nrouter = hash\n[balance]\nz_loss = 0.1") ==
          Problems{
              "moe.router = hash has no scores that a loss could steer; set balance.z_loss = 0 (moe.router "
              "from run.conf:2, balance.z_loss from run.conf:4)"});
}

TEST_CASE("config: all problems of all sources come at once", "[unit]") {
    const TestFolder folder;
    const std::string file = folder.file("run.conf", "[model]\nhiden = 3\n[moe]\ntop_k = x\n");
    const Environment environment("SWITCHYARD_TRAIN_STEPS", "-3");
    const Problems problems = problems_of([&] { load_config({file, {"optimizer.lr=fast", "nonsense"}}); });
    CHECK(
        problems ==
        Problems{
            file + ":2: unknown option model.hiden; did you mean model.hidden?",
            file + ":4: moe.top_k: 'x' is not a whole number from 1 to 1000; the default is 2",
            "SWITCHYARD_TRAIN_STEPS: train.steps: '-3' is not a whole number from 1 to 1000000000000; try 1",
            "--set: optimizer.lr: 'fast' is not a number from 0 to 100; the default is 0.001",
            "--set nonsense: write section.key=value",
        });
}

TEST_CASE("config: a contradiction with a value that could not be read is not reported besides", "[unit]") {
    // With heads left at its default of 4, kv_heads = 8 would not divide it; but heads was meant to be something else.
    CHECK(set_problems({"model.heads=eight", "model.kv_heads=8"}) ==
          Problems{"--set: model.heads: 'eight' is not a whole number from 1 to 100000; the default is 4"});
}

TEST_CASE("config: a file that cannot be opened is wrong usage", "[unit]") {
    const TestFolder folder;
    for (const std::string& name : {folder.path().string(), (folder.path() / "none").string()}) {
        CHECK(problems_of([&] {
                  load_config({name, {}});
              }) == Problems{"config: cannot open " + name + "; check the name given with --config"});
    }
}

TEST_CASE("config: variables of the environment that are no settings are a note, with what may be meant",
          "[unit]") {
    const Environment isa("SWITCHYARD_ISA", "avx2");
    const Environment known("SWITCHYARD_TRAIN_STEPS", "3");
    CHECK(environment_note().empty());
    const Environment root("SWITCHYARD_ROOT", "/opt/switchyard");
    CHECK(environment_note() == "environment variables that are no settings are ignored: SWITCHYARD_ROOT");
    CHECK(load_config({}).train.steps == 3);
    ::unsetenv("SWITCHYARD_ROOT");
    for (const auto& [misspelt, meant] : {std::pair{"SWITCHYARD_TRAIN_STEP", "SWITCHYARD_TRAIN_STEPS"},
                                          std::pair{"SWITCHYARD_ISAS", "SWITCHYARD_ISA"}}) {
        const Environment environment(misspelt, "3");
        CHECK(environment_note() == concat("environment variables that are no settings are ignored: ",
                                           misspelt, " (did you mean ", meant, "?)"));
    }
}

TEST_CASE("config: a flag is yes, true, on or 1, or no, false, off or 0, in any case", "[unit]") {
    for (const char* const word : {"yes", "true", "on", "1", "True", "ON"})
        CHECK(load_config({"", {concat("model.tied_head=", word)}}).model.tied_head);
    for (const char* const word : {"no", "false", "off", "0", "False", "OFF"})
        CHECK_FALSE(load_config({"", {concat("moe.renormalise=", word)}}).moe.renormalise);
}

TEST_CASE("config: bytes that are not UTF-8 are refused by name, wherever they come from", "[unit]") {
    CHECK(file_problems("# caf\xe9\n[data]\npath = caf\xe9.txt\n[run]\ndirectory = \xff\xfe\n") ==
          Problems{"run.conf:3: 'path = caf\\xe9.txt' is not UTF-8; save the file as UTF-8",
                   "run.conf:5: 'directory = \\xff\\xfe' is not UTF-8; save the file as UTF-8"});
    CHECK(file_problems("\xff\xfe[\0d\0") == Problems{"run.conf is UTF-16; save it as UTF-8"});
    const std::string reason =
        "' is not UTF-8, as metrics and checkpoints have to be; write it in UTF-8, or rename the file that "
        "it names";
    CHECK(file_problems("[generate]\nprompt = \"caf\\xe9\"") ==
          Problems{"run.conf:2: generate.prompt: 'caf\\xe9" + reason});
    CHECK(set_problems({"data.path=caf\xe9.txt"}) == Problems{"--set: data.path: 'caf\\xe9.txt" + reason});
    const Environment environment("SWITCHYARD_RUN_DIRECTORY", "\xc3");
    CHECK(set_problems({}) == Problems{"SWITCHYARD_RUN_DIRECTORY: run.directory: '\\xc3" + reason});
}

TEST_CASE("config: a device that goes on for ever is no config file", "[unit]") {
    CHECK(problems_of([] { load_config({"/dev/zero"}); }) ==
          Problems{
              "config: /dev/zero has more than 1048576 bytes, as no settings have; check the name given with "
              "--config"});
}

TEST_CASE("config: a byte order mark before the first line is skipped", "[unit]") {
    CHECK(parse_config("\xef\xbb\xbf[train]\r\nsteps = 7\r\n", "run.conf").train.steps == 7);
    CHECK(file_problems("[train]\n\xef\xbb\xbfsteps = 7") ==
          Problems{"run.conf:2: unknown option train.\xef\xbb\xbfsteps; did you mean train.steps?"});
}

TEST_CASE("config: --set wins over the environment, the environment over the file, the file over defaults",
          "[unit]") {
    const TestFolder folder;
    const std::string file = folder.file(
        "run.conf",
        "# all\n[train]\r\nsteps = 11  # inline\nseed = 11\n eval_every=11\n[model]\nlayers = 2\n");
    const Environment steps("SWITCHYARD_TRAIN_STEPS", "12");
    const Environment seed("SWITCHYARD_TRAIN_SEED", " 12 ");
    const Config config = load_config({file, {"train.seed=12", "train.seed = 13"}});
    CHECK(config.train.steps == 12);
    CHECK(config.train.seed == 13);
    CHECK(config.train.eval_every == 11);
    CHECK(config.model.layers == 2);
    CHECK(config.train.global_batch == Config{}.train.global_batch);
    // Stored configs are read without the environment of whoever reads them.
    CHECK(parse_config("[train]\nseed = 5", "manifest").train.steps == Config{}.train.steps);
}

TEST_CASE(
    "config: text keeps blanks, quotes, number signs and control characters through file, --set and dump",
    "[unit]") {
    CHECK(parse_config("[generate]\nprompt = \"a # b \" # comment\n", "t").generate.prompt == "a # b ");
    CHECK(parse_config("[generate]\nprompt = a#b # comment\n", "t").generate.prompt == "a#b");
    CHECK(load_config({"", {"generate.prompt= \"Once\" # "}}).generate.prompt == " \"Once\" # ");
    std::string every_byte;
    for (int byte = 1; byte < 128; ++byte) every_byte.push_back(static_cast<char>(byte));
    every_byte += "\u00e9\u20ac\U0001f600";
    for (const std::string& prompt :
         {every_byte, std::string(" x"), std::string("\""), std::string(), std::string("#")}) {
        Config config;
        config.generate.prompt = prompt;
        CHECK(parse_config(dump(config), "dump").generate.prompt == prompt);
    }
}

TEST_CASE("config: the dump of changed values reads back to the same values, bit for bit", "[unit]") {
    // Every option is moved off its default, so that an option missing from dump or table would show.
    Config config;
    std::vector<Option> options = options_of(config);
    for (const Option& option : options) {
        if (option.type == OptionType::flag)
            REQUIRE(option.set(option.get() == "yes" ? "no" : "yes").empty());
        if (option.type == OptionType::text && option.name != "moe.layers")
            REQUIRE(option.set("t:" + option.name).empty());
        // More digits than a float holds, in whatever range.
        if (option.type == OptionType::number && !option.set("1.2345678901234567").empty())
            REQUIRE(option.set("0.12345678901234566").empty());
    }
    config.model.heads = 8;
    config.model.kv_heads = 2;
    config.model.activation = model::Activation::gelu;  // without a gate, for model.head_transform
    config.moe.shared_experts = 1;
    config.moe.layers = "0,2";
    config.moe.balance.entropy_bonus = 0.0;  // of another router
    config.moe.balance.load_loss = 0.0;      // of learned noise, which renormalises
    config.moe.groups = 2;
    config.moe.group_limit = 1;
    config.model.attention.window_layers = "1,3";
    config.model.position.rope_fraction = 0.5;
    config.generate.gap = "?";
    config.telemetry.routing_trace = "every:3";
    config.telemetry.trace = "10-12";
    config.train.seed = 18446744073709551615ULL;
    config.model.dtype = DType::bf16;
    config.model.recompute = model::Recompute::block;
    config.numerics = NumericsMode::reproducible;
    const std::string text = dump(config);
    Config again = parse_config(text, "dump");
    CHECK(dump(again) == text);
    const std::vector<Option> read = options_of(again);
    for (std::size_t i = 0; i < options.size(); ++i) {
        INFO(options[i].name);
        CHECK(read[i].get() == options[i].get());
    }
    CHECK(again.optimizer.lr == 1.2345678901234567);
    CHECK(again.model.position.rope_theta == 1.2345678901234567);
    CHECK(again.numerics == NumericsMode::reproducible);
}

TEST_CASE("config: the JSON dump holds the same values with JSON's own types", "[unit]") {
    Config config;
    config.train.seed = 18446744073709551615ULL;
    config.optimizer.lr = 0.1 + 0.2;
    config.generate.prompt = "say \"so\"\n";
    Json root = Json::parse(dump_json(config));
    CHECK(root.at("train").at("seed").as_natural() == 18446744073709551615ULL);
    CHECK(root.at("train").at("steps").as_whole() == 200);
    CHECK(root.at("optimizer").at("lr").as_number() == 0.1 + 0.2);
    CHECK(root.at("model").at("tied_head").as_bool() == false);
    CHECK(root.at("moe").at("renormalise").as_bool() == true);
    CHECK(root.at("model").at("dtype").as_string() == "f32");
    CHECK(root.at("generate").at("prompt").as_string() == "say \"so\"\n");
    std::size_t count = 0;
    for (const Json::Member& section : root.as_object()) count += section.value.as_object().size();
    CHECK(count == options_of(config).size());
}

TEST_CASE("config: names are unique, documented, in contiguous sections, and in the help with their defaults",
          "[unit]") {
    Config config;
    std::vector<std::string> sections;
    std::vector<std::string> names;
    const std::string help = config_help();
    for (const Option& option : options_of(config)) {
        INFO(option.name);
        CHECK(std::count(names.begin(), names.end(), option.name) == 0);
        names.push_back(option.name);
        if (sections.empty() || sections.back() != option.section()) {
            CHECK(std::count(sections.begin(), sections.end(), option.section()) == 0);
            sections.push_back(option.section());
        }
        CHECK_FALSE(option.help.empty());
        CHECK(help.find("\n  " + option.key() + " ") != std::string::npos);
        CHECK(help.find(option.help) != std::string::npos);
        CHECK(option.initial == option.get());
    }
    CHECK(config_help("optimizer").find("warmup_steps") != std::string::npos);
    CHECK(config_help("optimizer").find("global_batch") == std::string::npos);
    CHECK(problems_of([] { config_help("optimiser"); }) ==
          Problems{"help config: unknown section optimiser; did you mean optimizer?"});
}

TEST_CASE("config: suggestions find slips of the finger and nothing far-fetched", "[unit]") {
    const std::vector<std::string> names{"train", "eval", "generate"};
    CHECK(nearest_name("trian", names) == "train");
    CHECK(nearest_name("tran", names) == "train");
    CHECK(nearest_name("genrate", names) == "generate");
    CHECK(nearest_name("evalu", names) == "eval");
    CHECK(nearest_name("", names).empty());
    CHECK(nearest_name("zzzzz", names).empty());
    CHECK(nearest_name("x", {}).empty());
}
