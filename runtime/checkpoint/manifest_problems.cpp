// What a manifest may not say, whoever wrote it: checked before anything is opened, allocated or looped over.
#include <algorithm>
#include <limits>
#include <set>

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime {
namespace {

using Problems = std::vector<std::string>;

constexpr index_t kValueBytes = sizeof(float);
/// The most steps or samples that are believed: beyond all runs, and far from where a few more would overflow.
constexpr index_t kMostCounted = index_t{1} << 60;

/// A text from the manifest as a message shows it: short, and without control characters.
std::string shown(const std::string& text) {
    std::string safe = text.substr(0, 80);
    std::replace_if(
        safe.begin(), safe.end(),
        [](char letter) { return static_cast<unsigned char>(letter) < 32 || letter == 127; }, '?');
    return "'" + safe + (text.size() > 80 ? "...'" : "'");
}

/// One component of a path, of printable characters.
bool is_plain_name(const std::string& name) {
    return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
           std::none_of(name.begin(), name.end(), [](char letter) {
               return letter == '/' || static_cast<unsigned char>(letter) < 32 || letter == 127;
           });
}

/// The most bytes that each of some files may have, so that they can be added up.
index_t most_of_each(std::size_t num_files) {
    return std::numeric_limits<index_t>::max() / std::max<index_t>(1, static_cast<index_t>(num_files));
}

void check_state(const Manifest& manifest, Problems& problems) {
    const TrainingState& state = manifest.state;
    const auto check = [&](const char* name, index_t value) {
        if (value < 0) problems.push_back(concat(name, " is ", value, ", which is negative"));
        if (value > kMostCounted) problems.push_back(concat(name, " is ", value, ", which no run reaches"));
    };
    check("step", manifest.step);
    check("samples_consumed", state.samples_consumed);
    check("skipped_steps", state.skipped_steps);
    check("skipped_in_a_row", state.skipped_in_a_row);
    if (!state.data) return;
    const index_t most = most_of_each(state.data->file_bytes.size());
    for (const index_t bytes : state.data->file_bytes) {
        if (bytes < 0 || bytes > most)
            problems.push_back(concat("a file of the text has ", bytes, " bytes, which no file has"));
    }
    const std::vector<index_t>& weights = state.data->weights;
    if (!weights.empty() && weights.size() != state.data->file_bytes.size())
        problems.push_back(concat("the text has ", state.data->file_bytes.size(), " files and ",
                                  weights.size(), " weights"));
    for (const index_t weight : weights) {
        if (weight <= 0) problems.push_back(concat("a file of the text has the weight ", weight));
    }
}

std::map<std::string, index_t> check_files(const Manifest& manifest, Problems& problems) {
    std::map<std::string, index_t> bytes_of;
    if (manifest.files.empty()) problems.emplace_back("no files are listed");
    for (const FileRecord& file : manifest.files) {
        if (!is_plain_name(file.name) || file.name == "manifest.json") {
            problems.push_back(
                concat("file ", shown(file.name), " is not the plain name of a data file in the folder"));
        }
        if (file.bytes < 0 || file.bytes > most_of_each(manifest.files.size()))
            problems.push_back(
                concat("file ", shown(file.name), " has ", file.bytes, " bytes, which no file has"));
        if (!bytes_of.emplace(file.name, file.bytes).second)
            problems.push_back(concat("file ", shown(file.name), " is listed twice"));
    }
    return bytes_of;
}

/// Whether shape and name can be used; the total of all values is added to `elements`.
bool check_tensor(const std::string& name, const Shape& shape, double& elements, Problems& problems) {
    bool good = is_plain_name(name);
    if (!good) problems.push_back(concat("tensor ", shown(name), " is not a plain name"));
    const std::span<const index_t> dims = shape.dims();
    const bool positive = std::all_of(dims.begin(), dims.end(), [](index_t side) { return side > 0; });
    if (dims.empty() || dims.size() > 3 || !positive) {
        problems.push_back(concat("tensor ", shown(name), " has the shape ", shape.to_string(),
                                  "; 1 to 3 positive dimensions were expected"));
        return false;
    }
    elements += static_cast<double>(shape.num_elements());
    return good;
}

std::set<std::string> check_tensors(const Manifest& manifest, const std::map<std::string, index_t>& bytes_of,
                                    Problems& problems) {
    std::set<std::string> good;
    double elements = 0.0;
    double bytes = 0.0;
    if (manifest.shapes.empty()) problems.emplace_back("no tensors are listed");
    for (const auto& [name, shape] : manifest.shapes) {
        if (check_tensor(name, shape, elements, problems)) good.insert(name);
    }
    for (const auto& [name, count] : bytes_of) bytes += static_cast<double>(count);
    const double needed =
        elements * static_cast<double>(kValueBytes) * static_cast<double>(std::size(kKinds));
    if (needed > bytes) {
        problems.push_back(
            concat("the tensors need ", needed, " bytes with their moments, the files listed have ", bytes));
    }
    return good;
}

/// What is wrong with a piece of a tensor of `shape`, by itself.
std::string piece_problem(const PieceRecord& piece, const Shape& shape, CheckpointLayout layout) {
    const MatrixShape size = matrix_shape(shape);
    if (piece.id.matrix < 0 || piece.id.matrix >= size.matrices)
        return concat("no tensor has such a matrix: ", shape.to_string());
    if (piece.rows.begin < 0 || piece.rows.end <= piece.rows.begin || piece.rows.end > size.rows) {
        return concat("rows ", piece.rows.begin, " to ", piece.rows.end, " do not lie within its ", size.rows,
                      " rows");
    }
    if (piece.cols != size.cols) return concat("has ", piece.cols, " columns, ", size.cols, " were expected");
    const bool single = layout == CheckpointLayout::single;
    if ((piece.file == kModelFile) != single)
        return concat("lies in ", shown(piece.file), ", which layout ", layout_name(layout),
                      " does not put it in");
    const std::string dataset =
        single ? logical_name(piece.id.kind, piece.id.tensor) : shard_dataset(piece.id, piece.rows.begin);
    if (piece.dataset != dataset)
        return concat("lies in the dataset ", shown(piece.dataset), ", ", dataset, " was expected");
    return {};
}

void check_pieces(const Manifest& manifest, const std::set<std::string>& tensors,
                  const std::map<std::string, index_t>& bytes_of, Problems& problems) {
    std::map<std::string, index_t> left = bytes_of;
    for (const PieceRecord& piece : manifest.pieces) {
        const std::string name =
            concat(kind_name(piece.id.kind), " ", piece.id.tensor.substr(0, 80), "[", piece.id.matrix, "]: ");
        const auto file = left.find(piece.file);
        if (file == left.end()) {
            problems.push_back(concat(name, "its file ", shown(piece.file), " is not listed"));
        }
        if (!tensors.contains(piece.id.tensor)) {
            if (!manifest.shapes.contains(piece.id.tensor))
                problems.push_back(concat(name, "no such tensor is listed"));
            continue;
        }
        const std::string problem =
            piece_problem(piece, manifest.shapes.at(piece.id.tensor), manifest.layout);
        if (!problem.empty()) problems.push_back(name + problem);
        if (!problem.empty() || file == left.end()) continue;
        // The product cannot overflow: the rows lie within a shape whose elements can be counted.
        const index_t elements = piece.rows.size() * piece.cols;
        if (elements > std::max<index_t>(0, file->second) / kValueBytes) {
            problems.push_back(concat(name, "its file ", shown(piece.file), " is too small for it"));
            continue;
        }
        file->second -= elements * kValueBytes;
    }
}

}  // namespace

std::vector<std::string> manifest_problems(const Manifest& manifest) {
    Problems problems;
    check_state(manifest, problems);
    const std::map<std::string, index_t> bytes_of = check_files(manifest, problems);
    const std::set<std::string> tensors = check_tensors(manifest, bytes_of, problems);
    check_pieces(manifest, tensors, bytes_of, problems);
    return problems;
}

}  // namespace sy::runtime
