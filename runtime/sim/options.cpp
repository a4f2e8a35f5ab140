#include "runtime/sim/options.hpp"

#include <boost/program_options.hpp>
#include <sstream>

#include "kernels/core/problems.hpp"

namespace sy::runtime::sim {
namespace {

namespace po = boost::program_options;

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
    return parts;
}

/// The text of each option, before it is checked.
struct Texts {
    std::string ranks, exchanges, platform, profile, dtype;
    double bandwidth = 0, latency = 0, node_bandwidth = 0, node_latency = 0, gflops = 0, copy_bandwidth = 0;
    double precision = 0;
    index_t tokens = 0;
};

po::options_description described(Options& options, Texts& texts) {
    LayerShape& layer = options.point.layer;
    po::options_description all("Simulates the exchange of a mixture layer on many ranks.", 110, 70);
    auto add = all.add_options();
    add("help,h", "prints this");
    add("ranks", po::value(&texts.ranks)->default_value("8,16,32,64"),
        "numbers of ranks, one simulation each");
    add("exchange", po::value(&texts.exchanges)->default_value("flat,hierarchical"), "which of the two");
    add("profile", po::value(&texts.profile)->default_value("balanced"),
        "routing: balanced, hot.PCT (PCT % of the tokens choose expert 0) or decode (by chance, few tokens)");
    add("trace", po::value(&options.trace),
        "recorded routing (telemetry.routing_trace) instead of a profile, as often as the tokens of all "
        "ranks need; "
        "experts and choices are the recorded ones");
    add("layer", po::value(&options.layer)->default_value(-1), "layer of the trace; -1: the first");
    add("tokens", po::value(&texts.tokens)->default_value(0), "of a rank; 0: 1024, or 8 with decode");
    add("hidden", po::value(&layer.hidden)->default_value(2048), "values of a row");
    add("experts", po::value(&layer.routing.experts)->default_value(256),
        "in all; as many as ranks where these are more");
    add("top-k", po::value(&layer.routing.top_k)->default_value(8), "choices of a token");
    add("width", po::value(&layer.width)->default_value(1408), "of an expert");
    add("shared-width", po::value(&layer.shared_width)->default_value(0), "of shared experts together");
    add("dtype", po::value(&texts.dtype)->default_value("bf16"),
        "of dispatched rows, f32 or bf16; f32 returns");
    add("gflops", po::value(&texts.gflops)->default_value(100.0),
        "of a rank; `switchyard bench gemm` measures them");
    add("copy-gbytes", po::value(&texts.copy_bandwidth)->default_value(10.0),
        "GB/s that a rank reads and writes when it gathers rows; 0: gathering takes no time");
    add("platform", po::value(&texts.platform)->default_value("fat-tree"),
        "fat-tree, dragonfly or one-switch");
    add("ranks-per-node", po::value(&options.point.ranks_per_node)->default_value(8), "that share memory");
    add("gbytes", po::value(&texts.bandwidth)->default_value(25.0), "GB/s of each link, each way");
    add("latency-us", po::value(&texts.latency)->default_value(1.0), "of each link");
    add("oversubscription", po::value(&options.point.platform.oversubscription)->default_value(1.0),
        "of a fat tree's leaf switches");
    add("node-gbytes", po::value(&texts.node_bandwidth)->default_value(100.0),
        "GB/s of all messages inside a node together");
    add("node-latency-us", po::value(&texts.node_latency)->default_value(0.5), "of messages inside a node");
    add("precision-us", po::value(&texts.precision)->default_value(-1.0, "auto"),
        "messages that end so close together end at once; by itself 0 up to 32 ranks, and a five-hundredth "
        "of a "
        "dispatch for more, which makes them faster by far");
    add("check", po::bool_switch(&options.check),
        "carries rows as wide as they are and compares values and bytes");
    add("json", po::bool_switch(&options.as_json), "one JSON object a line instead of the table");
    return all;
}

class Checks : public Problems {
  public:
    void at_least(const char* option, index_t value, index_t least) {
        require(value >= least, "--", option, " ", value, " is less than ", least);
    }
    void above_zero(const char* option, double value) {
        require(value > 0.0, "--", option, " ", value, " is not above 0");
    }
    template <class T>
    T one_of(const char* option, const std::string& text,
             std::initializer_list<std::pair<const char*, T>> names) {
        std::string known;
        for (const auto& [name, value] : names) {
            if (text == name) return value;
            known += concat(known.empty() ? "" : ", ", name);
        }
        add("--", option, " '", text, "' is none of ", known);
        return names.begin()->second;
    }
};

std::vector<int> parse_ranks(const std::string& text, Checks& checks) {
    std::vector<int> ranks;
    for (const std::string& part : split(text)) {
        int value = 0;
        std::istringstream stream(part);
        stream >> value;
        checks.require(stream.eof() && !stream.fail() && value >= 1 && value <= 65536, "--ranks: '", part,
                       "' is no number of ranks");
        ranks.push_back(value);
    }
    checks.require(!ranks.empty(), "--ranks names no number");
    return ranks;
}

}  // namespace

std::optional<Options> parse_options(int argc, const char* const* argv, std::string& help) {
    Options options;
    Texts texts;
    const po::options_description all = described(options, texts);
    try {
        po::variables_map values;
        po::store(po::command_line_parser(argc, argv)
                      .options(all)
                      .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
                      .run(),
                  values);
        po::notify(values);
        if (values.count("help") > 0) {
            std::ostringstream text;
            text << all;
            help = text.str();
            return std::nullopt;
        }
    } catch (const po::error& error) {
        throw ConfigError(concat(error.what(), "; see switchyard-sim --help"));
    }
    Checks checks;
    options.ranks = parse_ranks(texts.ranks, checks);
    using comm::ExchangeKind;
    for (const std::string& name : split(texts.exchanges))
        options.exchanges.push_back(checks.one_of<ExchangeKind>(
            "exchange", name, {{"flat", ExchangeKind::flat}, {"hierarchical", ExchangeKind::hierarchical}}));
    try {
        options.profile = parse_profile(texts.profile);
    } catch (const ConfigError& error) {
        checks.require(false, error.what());
    }
    LayerShape& layer = options.point.layer;
    layer.dtype = checks.one_of<DType>("dtype", texts.dtype, {{"f32", DType::f32}, {"bf16", DType::bf16}});
    layer.routing.tokens = texts.tokens != 0                                      ? texts.tokens
                           : options.profile.kind == RoutingProfile::Kind::decode ? 8
                                                                                  : 1024;
    PlatformShape& platform = options.point.platform;
    platform.network = checks.one_of<Network>("platform", texts.platform,
                                              {{"fat-tree", Network::fat_tree},
                                               {"dragonfly", Network::dragonfly},
                                               {"one-switch", Network::one_switch}});
    checks.at_least("tokens", layer.routing.tokens, 1);
    checks.at_least("hidden", layer.hidden, 1);
    checks.at_least("top-k", layer.routing.top_k, 1);
    checks.at_least("experts", layer.routing.experts, layer.routing.top_k);
    checks.at_least("width", layer.width, 0);
    checks.at_least("shared-width", layer.shared_width, 0);
    checks.at_least("ranks-per-node", options.point.ranks_per_node, 1);
    checks.above_zero("gflops", texts.gflops);
    checks.above_zero("gbytes", texts.bandwidth);
    checks.above_zero("node-gbytes", texts.node_bandwidth);
    checks.require(platform.oversubscription >= 1.0, "--oversubscription is below 1");
    checks.require(texts.latency >= 0.0 && texts.node_latency >= 0.0 && texts.copy_bandwidth >= 0.0,
                   "a latency or --copy-gbytes is below 0");
    checks.require(!options.check || (layer.dtype == DType::f32 && options.trace.empty()),
                   "--check needs --dtype f32, and a profile, since recorded tokens may have lost choices");
    checks.throw_if_any();
    layer.carried = options.check ? layer.hidden : 1;
    layer.flops = 1e9 * texts.gflops;
    platform.bandwidth = 1e9 * texts.bandwidth;
    platform.latency = 1e-6 * texts.latency;
    platform.node_bandwidth = 1e9 * texts.node_bandwidth;
    platform.node_latency = 1e-6 * texts.node_latency;
    options.point.copy_bandwidth =
        texts.copy_bandwidth > 0.0 ? 1e9 * texts.copy_bandwidth : std::numeric_limits<double>::infinity();
    // Rows go to the experts of all choices over the link of a node.
    const double dispatch_seconds =
        static_cast<double>(layer.routing.tokens * layer.routing.top_k * layer.hidden *
                            dtype_bytes(layer.dtype) * options.point.ranks_per_node) /
        platform.bandwidth;
    options.point.precision = texts.precision >= 0.0 ? 1e-6 * texts.precision : dispatch_seconds / 500.0;
    options.point.precise_ranks = texts.precision >= 0.0 ? 0 : 32;
    return options;
}

}  // namespace sy::runtime::sim
