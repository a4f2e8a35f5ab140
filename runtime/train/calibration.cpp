#include "runtime/train/calibration.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFormat = "switchyard calibration";
constexpr index_t kVersion = 1;

// What is assumed where nothing was measured.
constexpr double kFlopsOfThread = 20e9;
constexpr double kMemoryBandwidth = 10e9;   ///< of a rank
constexpr double kOptimizerBytes = 32.0;    ///< that AdamW reads and writes of a parameter
constexpr double kNodeBandwidth = 4e9;      ///< between ranks of a node, of each
constexpr double kExchangeLatency = 60e-6;  ///< of a mixture's messages, forward and backward
constexpr double kGradientLatency = 100e-6;

Json line_json(const CostLine& line) {
    return Json::Object{{"base_s", line.base}, {"slope_s", line.slope}};
}

Json compute_json(const ComputeCosts& costs) {
    return Json::Object{
        {"threads", costs.threads},        {"mixture", line_json(costs.mixture)},
        {"dense", line_json(costs.dense)}, {"rest", line_json(costs.rest)},
        {"recompute", costs.recompute},    {"optimizer_s_per_parameter", costs.optimizer_s_per_parameter}};
}

/// @throws IoError where it is not a finite number of zero or more
double cost(const Json& object, const char* key) {
    const double value = object.at(key).as_number();
    if (!(value >= 0.0) || !std::isfinite(value)) throw IoError(concat("'", key, "' is ", value));
    return value;
}

CostLine parse_line(const Json& object, const char* key) {
    const Json& line = object.at(key);
    return {cost(line, "base_s"), cost(line, "slope_s")};
}

ComputeCosts parse_compute(const Json& object) {
    ComputeCosts costs{object.at("threads").as_whole(), parse_line(object, "mixture"),
                       parse_line(object, "dense"),     parse_line(object, "rest"),
                       cost(object, "recompute"),       cost(object, "optimizer_s_per_parameter")};
    if (costs.threads < 1) throw IoError(concat("'threads' is ", costs.threads));
    return costs;
}

Calibration parse_calibration(const Json& file) {
    const Json* const format = file.find("format");
    if (format == nullptr || *format != Json(kFormat))
        throw IoError(concat("its 'format' is not '", kFormat, "'"));
    if (file.at("version").as_whole() != kVersion)
        throw IoError(concat("its version is ", file.at("version").as_whole(), ", not ", kVersion));
    Calibration calibration;
    calibration.model = file.at("model").as_string();
    calibration.host = file.at("host").as_string();
    for (const Json& costs : file.at("compute").as_array())
        calibration.compute.push_back(parse_compute(costs));
    if (calibration.compute.empty()) throw IoError("'compute' is empty");
    std::ranges::sort(calibration.compute, {}, &ComputeCosts::threads);
    calibration.flat = parse_line(file, "flat");
    calibration.hierarchical = parse_line(file, "hierarchical");
    calibration.gradients = parse_line(file, "gradients");
    for (const Json& sentence : file.at("assumed").as_array())
        calibration.assumed.push_back(sentence.as_string());
    return calibration;
}

/// Seconds a token of a block, forward and backward, by its products.
double assumed_block(const Config& config, const char* layers) {
    Config one = config;
    one.moe.layers = layers;
    one.model.mtp_depth = 0;
    one.model.attention.window_layers = "all";
    one.model.layers = 2;
    const double of_two = model::model_size(one.model, one.moe).train_flops_per_token();
    one.model.layers = 1;
    return (of_two - model::model_size(one.model, one.moe).train_flops_per_token()) / kFlopsOfThread;
}

}  // namespace

CostLine line_through(double size, double seconds, double larger_size, double larger_seconds) {
    const double slope = std::max(0.0, (larger_seconds - seconds) / (larger_size - size));
    const double base = std::max(0.0, larger_seconds - slope * larger_size);
    // Where the base would be below zero, the larger size decides.
    return {base, base > 0.0 ? slope : std::max(0.0, larger_seconds) / larger_size};
}

ComputeCosts Calibration::compute_with(index_t threads) const {
    const auto distance = [&](const ComputeCosts& costs) {
        return std::fabs(std::log2(static_cast<double>(costs.threads) / static_cast<double>(threads)));
    };
    ComputeCosts costs = *std::ranges::min_element(compute, {}, distance);
    const double scale = static_cast<double>(costs.threads) / static_cast<double>(threads);
    for (CostLine* const line : {&costs.mixture, &costs.dense, &costs.rest}) line->slope *= scale;
    costs.optimizer_s_per_parameter *= scale;
    costs.threads = threads;
    return costs;
}

std::string calibrated_model(const Config& config) {
    Config same = config;
    same.model.layers = 1;
    same.model.mtp_depth = 0;
    same.model.recompute = model::Recompute::none;
    same.moe.layers = "all";
    const Json all = Json::parse(dump_json(same));
    return Json(Json::Object{
                    {"model", all.at("model")}, {"moe", all.at("moe")}, {"numerics", all.at("numerics")}})
        .text();
}

Calibration assumed_calibration(const Config& config) {
    ComputeCosts costs;
    costs.mixture.slope = assumed_block(config, "all");
    costs.dense.slope = assumed_block(config, "none");
    const double head = 6.0 * static_cast<double>(config.model.vocab_size * config.model.hidden);
    costs.rest.slope = head / kFlopsOfThread;
    costs.optimizer_s_per_parameter = kOptimizerBytes / kMemoryBandwidth;
    Calibration calibration;
    calibration.compute.push_back(costs);
    calibration.flat = {kExchangeLatency, 1.0 / kNodeBandwidth};
    calibration.hierarchical = calibration.flat;
    calibration.gradients = {kGradientLatency, 1.0 / kNodeBandwidth};
    calibration.assumed = {
        concat("a thread computes ", kFlopsOfThread / 1e9,
               " GFLOP/s of a step's products, whatever their sizes"),
        concat("AdamW moves ", kOptimizerBytes, " bytes a parameter at ", kMemoryBandwidth / 1e9,
               " GB/s a thread"),
        concat("a rank sends ", kNodeBandwidth / 1e9,
               " GB/s to ranks of its node; the messages of a mixture take ", 1e6 * kExchangeLatency,
               " us, those of gradients ", 1e6 * kGradientLatency, " us"),
        "a block with model.recompute = block takes 4/3 of its time without"};
    return calibration;
}

void write_calibration(const fs::path& path, const Calibration& calibration) {
    if (fs::exists(path)) throw IoError(concat(path.string(), " exists; remove it, or give another name"));
    Json::Array compute;
    for (const ComputeCosts& costs : calibration.compute) compute.push_back(compute_json(costs));
    const Json text(Json::Object{{"format", kFormat},
                                 {"version", kVersion},
                                 {"host", calibration.host},
                                 {"model", calibration.model},
                                 {"compute", std::move(compute)},
                                 {"flat", line_json(calibration.flat)},
                                 {"hierarchical", line_json(calibration.hierarchical)},
                                 {"gradients", line_json(calibration.gradients)},
                                 {"assumed", json_array(calibration.assumed)}});
    const fs::path unfinished = path.string() + ".unfinished";
    fs::remove(unfinished);  // left by a kill
    detail::write_text(unfinished, text.text() + "\n");
    fs::rename(unfinished, path);
    detail::flush_to_disk(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

Calibration read_calibration(const fs::path& path, const Config& config) {
    std::ifstream file(path, std::ios::binary);
    if (!file)
        throw IoError(concat("cannot read the calibration ", path.string(),
                             "; measure one with switchyard bench --calibrate"));
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    Calibration calibration;
    try {
        calibration = parse_calibration(Json::parse(text));
    } catch (const IoError& error) {
        throw IoError(concat(path.string(), " is no calibration: ", error.what(),
                             "; measure one with switchyard bench --calibrate"));
    }
    if (calibration.model != calibrated_model(config))
        throw ConfigError(
            concat(path.string(),
                   " was measured with other settings of model, moe or numerics than these; measure "
                   "again with switchyard bench --calibrate and this config"));
    return calibration;
}

}  // namespace sy::runtime
