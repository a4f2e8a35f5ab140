#include "runtime/checkpoint/compare.hpp"

#include <cmath>
#include <set>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/config/config_file.hpp"

namespace sy::runtime {
namespace {

using Lines = std::vector<std::string>;
/// What a manifest says, as text by name.
using Values = std::map<std::string, std::string>;

/// Lines for names that only one side has, and for values that differ. Control characters are escaped: a terminal that
/// gets them does what whoever wrote the checkpoint wants.
void compare_values(const Values& first, const Values& second, Lines& lines) {
    std::set<std::string> names;
    for (const auto& [name, value] : first) names.insert(name);
    for (const auto& [name, value] : second) names.insert(name);
    for (const std::string& name : names) {
        const auto a = first.find(name);
        const auto b = second.find(name);
        if (a == first.end() || b == second.end()) {
            lines.push_back(
                concat(quote_if_needed(name), ": only in the ", a == first.end() ? "second" : "first"));
        } else if (a->second != b->second) {
            lines.push_back(concat(quote_if_needed(name), ": ", quote_if_needed(a->second), " | ",
                                   quote_if_needed(b->second)));
        }
    }
}

Values state_of(const Manifest& manifest) {
    const TrainingState& state = manifest.state;
    Values values{{"step", concat(manifest.step)},
                  {"state.seed", concat(state.seed)},
                  {"state.random", state.random},
                  {"state.samples_consumed", concat(state.samples_consumed)},
                  {"state.skipped_steps", concat(state.skipped_steps)},
                  {"state.skipped_in_a_row", concat(state.skipped_in_a_row)}};
    if (state.data) {
        values["state.data.paths"] = state.data->paths;
        values["state.data.bytes"] = concat(state.data->num_bytes());
        values["state.data.checksum"] = hex(state.data->checksum);
        values["state.data.tokenizer"] = state.data->tokenizer;
        values["state.data.window"] = concat(state.data->window);
        values["state.data.validation_fraction"] = concat(state.data->validation_fraction);
        values["state.data.weights"] = state.data->weights_text();
    }
    for (const auto& [name, array] : state.router) {
        std::ostringstream text;
        text.precision(17);
        for (const double value : array) text << (text.tellp() > 0 ? " " : "") << value;
        values["state.router." + name] = text.str();
    }
    return values;
}

Values config_of(const Manifest& manifest) {
    Values values;
    for (const Setting& setting : read_config_text(manifest.config, "the checkpoint's settings").settings)
        values[concat("config ", setting.section, ".", setting.key)] = setting.value;
    return values;
}

Values shapes_of(const Manifest& manifest) {
    Values values;
    for (const auto& [name, shape] : manifest.shapes) values["tensor " + name] = shape.to_string();
    return values;
}

double largest_difference(const CheckpointReader& first, const CheckpointReader& second, const MatrixId& id,
                          const MatrixShape& size) {
    const auto count = static_cast<std::size_t>(size.rows * size.cols);
    std::vector<float> a(count);
    std::vector<float> b(count);
    first.read(id.kind, id.tensor, id.matrix, {0, size.rows}, size.cols, a);
    second.read(id.kind, id.tensor, id.matrix, {0, size.rows}, size.cols, b);
    double largest = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
        const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
        // The difference is NaN where one side is: worse than any other.
        if (std::isnan(difference) && !(std::isnan(a[i]) && std::isnan(b[i]))) return difference;
        if (difference > largest) largest = difference;
    }
    return largest;
}

void compare_matrices(const CheckpointReader& first, const CheckpointReader& second, Lines& lines) {
    const std::map<MatrixId, std::uint64_t> a = first.manifest().matrix_checksums();
    const std::map<MatrixId, std::uint64_t> b = second.manifest().matrix_checksums();
    for (const auto& [tensor, shape] : first.manifest().shapes) {
        const auto other = second.manifest().shapes.find(tensor);
        if (other == second.manifest().shapes.end() || other->second != shape) continue;
        const MatrixShape size = matrix_shape(shape);
        for (const Kind kind : kKinds) {
            for (index_t matrix = 0; matrix < size.matrices; ++matrix) {
                const MatrixId id{kind, tensor, matrix};
                if (a.contains(id) && b.contains(id) && a.at(id) == b.at(id)) continue;
                lines.push_back(concat(id.to_string(), ": largest difference ",
                                       largest_difference(first, second, id, size)));
            }
        }
    }
}

}  // namespace

Lines compare_checkpoints(const std::filesystem::path& first, const std::filesystem::path& second) {
    const CheckpointReader a(first);
    const CheckpointReader b(second);
    Lines lines;
    compare_values(state_of(a.manifest()), state_of(b.manifest()), lines);
    compare_values(config_of(a.manifest()), config_of(b.manifest()), lines);
    compare_values(shapes_of(a.manifest()), shapes_of(b.manifest()), lines);
    compare_matrices(a, b, lines);
    for (const CheckpointReader* const reader : {&a, &b}) {
        for (const PieceRecord& piece : reader->manifest().pieces) reader->read_piece(piece);
    }
    return lines;
}

}  // namespace sy::runtime
