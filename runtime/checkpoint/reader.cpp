#include <algorithm>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5_file.hpp"

namespace sy::runtime {
namespace {

std::string matrix_name(const PieceRecord& piece) {
    return concat(kind_name(piece.kind), " ", piece.tensor, "[", piece.matrix, "]");
}

std::vector<float> read_piece(const std::filesystem::path& folder, const PieceRecord& piece) {
    std::vector<float> values(static_cast<std::size_t>(piece.rows.size() * piece.cols));
    const Hdf5File file((folder / piece.file).string(), Hdf5File::Mode::read);
    file.read(piece.dataset, {0, piece.rows.size()}, piece.cols, values);
    const std::uint64_t found = row_checksum(values, piece.cols, piece.rows.begin);
    if (found != piece.checksum) {
        throw IoError(concat(matrix_name(piece), " rows ", piece.rows.begin, " to ", piece.rows.end, " in ",
                             piece.file, " were altered: checksum ", found, " instead of ", piece.checksum));
    }
    return values;
}

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
    return next < rows ? concat("rows ", next, " to ", rows, " are missing") : std::string{};
}

void check_coverage(const Manifest& manifest, std::vector<std::string>& problems) {
    std::map<std::string, std::vector<Range>> parts;
    for (const PieceRecord& piece : manifest.pieces) parts[matrix_name(piece)].push_back(piece.rows);
    for (const auto& [tensor, shape] : manifest.shapes) {
        const int dims = shape.num_dims();
        const index_t matrices = dims == 3 ? shape[0] : 1;
        const index_t rows = dims == 1 ? 1 : shape[dims - 2];
        for (const Kind kind : {Kind::weight, Kind::m, Kind::v}) {
            for (index_t matrix = 0; matrix < matrices; ++matrix) {
                const std::string name = concat(kind_name(kind), " ", tensor, "[", matrix, "]");
                const std::string problem = coverage_problem(parts[name], rows);
                if (!problem.empty()) problems.push_back(concat(name, ": ", problem));
            }
        }
    }
}

}  // namespace

void CheckpointReader::read(Kind kind, const std::string& tensor, index_t matrix, Range rows, index_t cols,
                            std::span<float> values) const {
    index_t covered = 0;
    for (const PieceRecord& piece : manifest_.pieces) {
        if (piece.kind != kind || piece.tensor != tensor || piece.matrix != matrix) continue;
        const Range overlap{std::max(rows.begin, piece.rows.begin), std::min(rows.end, piece.rows.end)};
        if (overlap.size() <= 0) continue;
        if (piece.cols != cols)
            throw IoError(
                concat(matrix_name(piece), " has ", piece.cols, " columns, ", cols, " were expected"));
        const std::vector<float> part = read_piece(folder_, piece);
        std::copy_n(part.begin() + (overlap.begin - piece.rows.begin) * cols, overlap.size() * cols,
                    values.begin() + (overlap.begin - rows.begin) * cols);
        covered += overlap.size();
    }
    if (covered != rows.size()) {
        throw IoError(concat("checkpoint ", folder_.string(), ": ", kind_name(kind), " ", tensor, "[", matrix,
                             "] rows ", rows.begin, " to ", rows.end, ": ", covered, " of ", rows.size(),
                             " found; run switchyard checkpoint verify"));
    }
}

std::vector<std::string> verify_checkpoint(const std::filesystem::path& folder) {
    std::vector<std::string> problems;
    const auto attempt = [&](const auto& body) {
        try {
            body();
        } catch (const Error& error) {
            problems.emplace_back(error.what());
        }
    };
    Manifest manifest;
    attempt([&] { manifest = read_manifest(folder); });
    if (!problems.empty()) return problems;
    for (const FileRecord& file : manifest.files) {
        attempt([&] {
            const FileRecord found = detail::describe_file(folder / file.name);
            if (found.bytes != file.bytes)
                throw IoError(
                    concat(file.name, " has ", found.bytes, " bytes, ", file.bytes, " were written"));
            if (found.checksum != file.checksum)
                throw IoError(concat(file.name, " was altered: its checksum differs"));
        });
    }
    check_coverage(manifest, problems);
    for (const PieceRecord& piece : manifest.pieces) attempt([&] { read_piece(folder, piece); });
    return problems;
}

}  // namespace sy::runtime
