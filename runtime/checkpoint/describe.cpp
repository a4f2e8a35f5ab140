#include <xxhash.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "runtime/checkpoint/compare.hpp"
#include "runtime/config/config_file.hpp"

namespace sy::runtime {
namespace {

/// The checksum of a tensor, from its matrices' in order: the same whoever wrote it. "missing" when a matrix is not there.
std::string tensor_checksum(const std::map<MatrixId, std::uint64_t>& sums, Kind kind,
                            const std::string& tensor, index_t num_matrices) {
    std::vector<std::uint64_t> parts;
    for (index_t matrix = 0; matrix < num_matrices; ++matrix) {
        const auto sum = sums.find({kind, tensor, matrix});
        if (sum == sums.end()) return "missing";
        parts.push_back(sum->second);
    }
    return hex(parts.size() == 1 ? parts.front()
                                 : XXH3_64bits(parts.data(), parts.size() * sizeof(parts.front())));
}

void describe_state(const TrainingState& state, std::ostringstream& text) {
    text << "seed              " << state.seed << "\n"
         << "random numbers    " << quote_if_needed(state.random) << "\n"
         << "samples consumed  " << state.samples_consumed << "\n"
         << "skipped steps     " << state.skipped_steps << ", " << state.skipped_in_a_row
         << " of them the last in a row\n"
         << "text              ";
    if (state.data) {
        text << quote_if_needed(state.data->paths) << ": " << state.data->num_bytes() << " bytes, checksum "
             << hex(state.data->checksum) << ", tokenizer " << quote_if_needed(state.data->tokenizer)
             << ", windows of " << state.data->window << " tokens, share of validation "
             << state.data->validation_fraction;
        if (!state.data->weights.empty()) text << ", weights " << state.data->weights_text();
        text << "\n";
    } else {
        text << "not known\n";
    }
    text << "router state      " << (state.router.empty() ? "none" : "") << "\n";
    for (const auto& [name, values] : state.router)
        text << "  " << quote_if_needed(name) << ": " << values.size() << " numbers\n";
}

void describe_tensors(const Manifest& manifest, std::ostringstream& text) {
    std::size_t name_width = 6;
    std::size_t shape_width = 5;
    for (const auto& [name, shape] : manifest.shapes) {
        name_width = std::max(name_width, name.size());
        shape_width = std::max(shape_width, shape.to_string().size());
    }
    const auto row = [&](const std::string& name, const std::string& shape, const std::string& parameters) {
        text << std::left << std::setw(static_cast<int>(name_width) + 2) << name
             << std::setw(static_cast<int>(shape_width) + 2) << shape << std::right << std::setw(12)
             << parameters;
    };
    row("tensor", "shape", "parameters");
    for (const Kind kind : kKinds)
        text << "  " << std::left << std::setw(kind == Kind::v ? 1 : 16) << kind_name(kind);
    text << "\n";
    const std::map<MatrixId, std::uint64_t> sums = manifest.matrix_checksums();
    for (const auto& [name, shape] : manifest.shapes) {
        row(name, shape.to_string(), concat(shape.num_elements()));
        for (const Kind kind : kKinds)
            text << "  " << tensor_checksum(sums, kind, name, matrix_shape(shape).matrices);
        text << "\n";
    }
}

}  // namespace

std::string describe_checkpoint(const std::filesystem::path& folder) {
    const Manifest manifest = read_manifest(folder);
    index_t parameters = 0;
    index_t bytes = 0;
    for (const auto& [name, shape] : manifest.shapes) parameters += shape.num_elements();
    for (const FileRecord& file : manifest.files) bytes += file.bytes;
    std::ostringstream text;
    text << "what manifest.json says; switchyard checkpoint verify compares the files with it\n\n"
         << "step              " << manifest.step << "\n"
         << "layout            " << layout_name(manifest.layout) << ", " << manifest.files.size()
         << " files, " << manifest.pieces.size() << " pieces\n"
         << "trained on        " << quote_if_needed(manifest.written_on) << "\n"
         << "instruction set   " << (manifest.isa.empty() ? "not known" : quote_if_needed(manifest.isa))
         << "\n"
         << "parameters        " << parameters << " in " << manifest.shapes.size() << " tensors\n"
         << "bytes             " << bytes << "\n";
    describe_state(manifest.state, text);
    text << "\nchecksums of weights and of both moments, the same on every layout\n";
    describe_tensors(manifest, text);
    return text.str();
}

}  // namespace sy::runtime
