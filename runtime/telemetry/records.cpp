#include "runtime/telemetry/records.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <iomanip>
#include <sstream>

namespace sy::runtime {
namespace {

/// 64-bit hashes as text: many readers of JSON keep numbers as doubles.
std::string hex(std::uint64_t value) {
    std::ostringstream text;
    text << std::hex << std::setw(16) << std::setfill('0') << value;
    return text.str();
}

Json to_json(const LayerRecord& layer) {
    return Json::Object{{"layer", layer.layer},
                        {"load", json_array(layer.load)},
                        {"dropped", layer.dropped},
                        {"routing_hash", hex(layer.routing_hash)}};
}

Json to_json(const comm::Traffic& traffic) {
    return Json::Object{{"rows", traffic.rows}, {"bytes", traffic.bytes}};
}

Json to_json(const comm::ExchangeTraffic& traffic) {
    return Json::Object{{"rank", to_json(traffic.rank)},
                        {"node", to_json(traffic.node)},
                        {"network", to_json(traffic.network)},
                        {"network_bound", traffic.network_bound},
                        {"metadata", traffic.metadata}};
}

Json to_json(const comm::PhaseTime& time) {
    return Json::Object{{"total", time.total_seconds}, {"exposed", time.exposed_seconds}};
}

Json to_json(const comm::ExchangeTimes& times) {
    return Json::Object{{"plan", to_json(times.plan)},
                        {"dispatch", to_json(times.dispatch)},
                        {"return", to_json(times.back)}};
}

}  // namespace

double StepRecord::tokens_per_s() const {
    return seconds > 0.0 ? static_cast<double>(tokens) / seconds : 0.0;
}

double StepRecord::communication_share() const {
    return seconds > 0.0 ? phases[Phase::communication] / seconds : 0.0;
}

std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown host";
    return name.data();
}

Json to_json(const RunRecord& record) {
    return Json::Object{{"type", "run"},
                        {"version", record.version},
                        {"config", Json::parse(record.config_json)},
                        {"layout", record.layout},
                        {"host", record.host},
                        {"ranks", record.ranks},
                        {"threads", record.threads},
                        {"isa", record.isa},
                        {"first_step", record.first_step},
                        {"notes", json_array(record.notes)}};
}

Json to_json(const StepRecord& record) {
    Json phases = Json::Object{};
    for (const Phase phase : kPhases) phases[phase_name(phase)] = record.phases[phase];
    Json extra_losses = Json::Object{};
    for (const auto& [name, value] : record.extra_losses) extra_losses[name] = value;
    Json::Array layers;
    for (const LayerRecord& layer : record.layers) layers.push_back(to_json(layer));
    return Json::Object{{"type", "step"},
                        {"step", record.step},
                        {"loss", record.loss},
                        {"token_loss", record.token_loss},
                        {"targets", record.targets},
                        {"extra_losses", std::move(extra_losses)},
                        {"learning_rate", record.learning_rate},
                        {"gradient_norm", record.gradient_norm},
                        {"applied", record.applied},
                        {"skipped", record.skipped},
                        {"tokens", record.tokens},
                        {"tokens_per_s", record.tokens_per_s()},
                        {"flops_per_s", record.flops_per_s()},
                        {"seconds", record.seconds},
                        {"phases", std::move(phases)},
                        {"useful_seconds", Json::Object{{"mean", record.useful_seconds.mean},
                                                        {"max", record.useful_seconds.max}}},
                        {"routing_hash", hex(record.routing_hash)},
                        {"dropped", record.dropped},
                        {"imbalance", record.imbalance},
                        {"layers", std::move(layers)},
                        {"traffic", to_json(record.traffic)},
                        {"exchange_seconds", to_json(record.exchange_seconds)},
                        {"gradient_bytes_sent", record.gradient_bytes_sent},
                        {"memory_bytes", record.memory_bytes}};
}

Json to_json(const EvalRecord& record) {
    return Json::Object{{"type", "eval"},
                        {"step", record.step},
                        {"loss", record.loss},
                        {"bits_per_byte", record.bits_per_byte},
                        {"seconds", record.seconds}};
}

Json to_json(const CheckpointRecord& record) {
    return Json::Object{{"type", "checkpoint"},
                        {"step", record.step},
                        {"folder", record.folder},
                        {"seconds", record.seconds},
                        {"total_seconds", record.total_seconds}};
}

void PlacementRecord::add(const LayerPlacementRecord& layer) {
    layers.push_back(layer);
    moved += layer.moved;
    shadows += layer.shadows;
    imbalance_before = std::max(imbalance_before, layer.imbalance_before);
    imbalance_after = std::max(imbalance_after, layer.imbalance_after);
}

Json to_json(const PlacementRecord& record) {
    Json::Array layers;
    for (const LayerPlacementRecord& layer : record.layers) {
        layers.push_back(Json::Object{{"layer", layer.layer},
                                      {"moved", layer.moved},
                                      {"shadows", layer.shadows},
                                      {"imbalance_before", layer.imbalance_before},
                                      {"imbalance_after", layer.imbalance_after}});
    }
    return Json::Object{{"type", "placement"},
                        {"step", record.step},
                        {"moved", record.moved},
                        {"shadows", record.shadows},
                        {"imbalance_before", record.imbalance_before},
                        {"imbalance_after", record.imbalance_after},
                        {"seconds", record.seconds},
                        {"layers", std::move(layers)}};
}

Json to_json(const EndRecord& record) {
    Json::Array ranks;
    for (const RankRecord& rank : record.ranks) {
        ranks.push_back(Json::Object{{"host", rank.host},
                                     {"useful_seconds", rank.useful_seconds},
                                     {"memory_bytes", rank.memory_bytes}});
    }
    return Json::Object{{"type", "end"},
                        {"step", record.step},
                        {"stopped_early", record.stopped_early},
                        {"skipped", record.skipped},
                        {"ranks", std::move(ranks)}};
}

}  // namespace sy::runtime
