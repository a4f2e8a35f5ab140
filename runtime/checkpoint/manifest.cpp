#include "runtime/checkpoint/manifest.hpp"

#include <xxhash.h>

#include <algorithm>
#include <numeric>

namespace sy::runtime {
namespace {

/// Rows of a matrix that are missing from or doubled among its pieces.
std::string coverage_problem(std::vector<Range> parts, index_t rows) {
    std::sort(parts.begin(), parts.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    index_t next = 0;
    for (const Range& part : parts) {
        if (part.begin > next) return concat("rows ", next, " to ", part.begin, " are missing");
        if (part.begin < next)
            return concat("rows ", part.begin, " to ", std::min(next, part.end), " are there twice");
        next = part.end;
    }
    if (next > rows) return concat("rows ", rows, " to ", next, " are more than the tensor has");
    return next < rows ? concat("rows ", next, " to ", rows, " are missing") : std::string{};
}

/// Adds what is wrong with a tensor's matrices, and takes them out of `parts`. Matrices without any piece are skipped in
/// one step: a shape may claim more of them than can be counted.
void add_coverage_problems(Kind kind, const std::string& tensor, const MatrixShape& size,
                           std::map<MatrixId, std::vector<Range>>& parts,
                           std::vector<std::string>& problems) {
    const auto missing = [&](index_t begin, index_t end) {
        if (end - begin > 1)
            problems.push_back(concat(MatrixId{kind, tensor, begin}.to_string(), " and the ", end - begin - 1,
                                      " matrices behind it are missing"));
        if (end - begin == 1)
            problems.push_back(
                concat(MatrixId{kind, tensor, begin}.to_string(), ": rows 0 to ", size.rows, " are missing"));
    };
    index_t next = 0;
    auto part = parts.lower_bound({kind, tensor, 0});
    while (part != parts.end() && part->first < MatrixId{kind, tensor, size.matrices}) {
        missing(next, part->first.matrix);
        next = part->first.matrix + 1;
        const std::string problem = coverage_problem(part->second, size.rows);
        if (!problem.empty()) problems.push_back(concat(part->first.to_string(), ": ", problem));
        part = parts.erase(part);
    }
    missing(next, size.matrices);
}

}  // namespace

std::string layout_name(CheckpointLayout layout) {
    return layout == CheckpointLayout::sharded ? "sharded" : "single";
}

std::string kind_name(Kind kind) {
    return kind == Kind::weight ? "weight" : kind == Kind::m ? "m" : "v";
}

std::string MatrixId::to_string() const {
    return concat(kind_name(kind), " ", tensor, "[", matrix, "]");
}

MatrixShape matrix_shape(const Shape& shape) {
    const int dims = shape.num_dims();
    return {dims == 3 ? shape[0] : 1, dims == 1 ? 1 : shape[dims - 2], shape[dims - 1]};
}

std::string logical_name(Kind kind, const std::string& tensor) {
    return concat("/", kind_name(kind), "/", tensor);
}

std::string shard_dataset(const MatrixId& id, index_t first_row) {
    return concat(logical_name(id.kind, id.tensor), "/", id.matrix, ":", first_row);
}

std::string DataRecord::weights_text() const {
    std::string text;
    for (const index_t weight : weights) text += concat(text.empty() ? "" : ":", weight);
    return text.empty() ? "none" : text;
}

index_t DataRecord::num_bytes() const {
    return std::accumulate(file_bytes.begin(), file_bytes.end(), index_t{0});
}

void TrainingState::count_step(index_t samples, bool applied) {
    samples_consumed += samples;
    skipped_steps += applied ? 0 : 1;
    skipped_in_a_row = applied ? 0 : skipped_in_a_row + 1;
}

std::uint64_t row_checksum(std::span<const float> values, index_t cols, index_t first_row) {
    std::uint64_t sum = 0;
    const auto width = static_cast<std::size_t>(cols);
    for (std::size_t row = 0; row * width < values.size(); ++row) {
        sum += XXH3_64bits_withSeed(values.data() + row * width, width * sizeof(float),
                                    static_cast<std::uint64_t>(first_row) + row);
    }
    return sum;
}

std::string hex(std::uint64_t value) {
    std::string text(16, '0');
    for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15U];
    return text;
}

std::map<MatrixId, std::uint64_t> Manifest::matrix_checksums() const {
    std::map<MatrixId, std::uint64_t> sums;
    for (const PieceRecord& piece : pieces) sums[piece.id] += piece.checksum;
    return sums;
}

void Manifest::add(const Manifest& part) {
    files.insert(files.end(), part.files.begin(), part.files.end());
    pieces.insert(pieces.end(), part.pieces.begin(), part.pieces.end());
    for (const auto& [name, shape] : part.shapes) {
        const auto [known, fresh] = shapes.emplace(name, shape);
        if (!fresh && known->second != shape) {
            throw IoError(concat("checkpoint: ", name, " is ", known->second.to_string(), " on one rank and ",
                                 shape.to_string(), " on another"));
        }
    }
}

std::vector<std::string> coverage_problems(const Manifest& manifest) {
    std::map<MatrixId, std::vector<Range>> parts;
    std::vector<std::string> problems;
    for (const PieceRecord& piece : manifest.pieces) parts[piece.id].push_back(piece.rows);
    for (const auto& [tensor, shape] : manifest.shapes) {
        const MatrixShape size = matrix_shape(shape);
        for (const Kind kind : kKinds) add_coverage_problems(kind, tensor, size, parts, problems);
    }
    for (const auto& [id, rows] : parts)
        problems.push_back(concat(id.to_string(), ": no tensor has such a matrix"));
    return problems;
}

}  // namespace sy::runtime
