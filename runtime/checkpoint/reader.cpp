#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5/file_lock.hpp"
#include "runtime/checkpoint/regions.hpp"
#include "runtime/checkpoint/regular_file.hpp"
#include "runtime/checkpoint/shard_file.hpp"

namespace sy::runtime {

namespace {

/// @throws IoError when the file is not a regular one of the size that the manifest gives
void check_size(const std::filesystem::path& path, const Manifest& manifest) {
    const std::string name = path.filename().string();
    const index_t bytes = detail::regular_file_bytes(path);
    for (const FileRecord& file : manifest.files) {
        if (file.name == name && file.bytes != bytes)
            throw IoError(concat(name, " has ", bytes, " bytes, ", file.bytes, " were written"));
    }
}

std::string where(const PieceRecord& piece) {
    return concat(piece.id.to_string(), " rows ", piece.rows.begin, " to ", piece.rows.end, " in ",
                  piece.file);
}

bool all_finite(std::span<const float> values) {
    return std::all_of(values.begin(), values.end(), [](float value) { return std::isfinite(value); });
}

}  // namespace

CheckpointReader::CheckpointReader(const std::filesystem::path& folder)
    : CheckpointReader(folder, read_manifest(folder)) {
    for (const FileRecord& file : manifest_.files) check_size(folder_ / file.name, manifest_);
}

CheckpointReader::CheckpointReader(const std::filesystem::path& folder, Manifest manifest)
    : folder_(folder), manifest_(std::move(manifest)) {
    for (std::size_t i = 0; i < manifest_.pieces.size(); ++i) pieces_of_[manifest_.pieces[i].id].push_back(i);
    for (auto& [id, pieces] : pieces_of_) {
        std::stable_sort(pieces.begin(), pieces.end(), [&](std::size_t a, std::size_t b) {
            return manifest_.pieces[a].rows.begin < manifest_.pieces[b].rows.begin;
        });
    }
}

CheckpointReader::~CheckpointReader() = default;

std::vector<ReadPart> CheckpointReader::plan(const MatrixId& id, Range rows) const {
    const auto fail = [&](Range part, const char* what) {
        throw IoError(concat("checkpoint ", folder_.string(), ": ", id.to_string(), " rows ", part.begin,
                             " to ", part.end, " ", what, "; run switchyard checkpoint verify"));
    };
    std::vector<ReadPart> parts;
    index_t next = rows.begin;
    const auto pieces = pieces_of_.find(id);
    if (pieces == pieces_of_.end()) fail(rows, "are missing");
    for (const std::size_t i : pieces->second) {
        const Range held = manifest_.pieces[i].rows;
        const Range overlap{std::max(rows.begin, held.begin), std::min(rows.end, held.end)};
        if (overlap.size() <= 0) continue;
        if (overlap.begin > next) fail({next, overlap.begin}, "are missing");
        if (overlap.begin < next) fail({overlap.begin, std::min(next, overlap.end)}, "are there twice");
        parts.push_back({i, overlap});
        next = overlap.end;
    }
    if (next < rows.end) fail({next, rows.end}, "are missing");
    return parts;
}

const Hdf5File& CheckpointReader::open(const std::string& file) const {
    if (!open_file_ || open_name_ != file) {
        open_file_.reset();
        const std::filesystem::path path = folder_ / file;
        check_size(path, manifest_);
        open_file_ = std::make_unique<Hdf5File>(path.string());
        open_name_ = file;
    }
    return *open_file_;
}

void CheckpointReader::read_piece(const PieceRecord& piece, std::span<float> values) const {
    const detail::Place place = detail::place_of(piece, manifest_);
    try {
        const std::scoped_lock lock(hdf5_);
        const Hdf5File& file = open(piece.file);
        file.check_plain(piece.dataset);
        file.read(piece.dataset, place.dims, place.region, values);
    } catch (const IoError& error) {
        throw_again(error, where(piece) + " cannot be read: ");
    }
    const std::uint64_t found = row_checksum(values, piece.cols, piece.rows.begin);
    if (found != piece.checksum) {
        throw IoError(concat(where(piece), " were altered: checksum ", hex(found), " instead of ",
                             hex(piece.checksum)));
    }
}

void CheckpointReader::read(Kind kind, const std::string& tensor, index_t matrix, Range rows, index_t cols,
                            std::span<float> values) const {
    const MatrixId id{kind, tensor, matrix};
    std::vector<float> whole;
    for (const ReadPart& part : plan(id, rows)) {
        const PieceRecord& piece = manifest_.pieces[part.piece_idx];
        if (piece.cols != cols)
            throw IoError(concat(id.to_string(), " has ", piece.cols, " columns, ", cols, " were expected"));
        const std::span<float> destination =
            values.subspan(static_cast<std::size_t>((part.rows.begin - rows.begin) * cols),
                           static_cast<std::size_t>(part.rows.size() * cols));
        if (part.rows == piece.rows) {
            read_piece(piece, destination);
            continue;
        }
        // The checksum is of the whole piece.
        whole.resize(static_cast<std::size_t>(piece.rows.size() * cols));
        read_piece(piece, whole);
        std::copy_n(whole.begin() + (part.rows.begin - piece.rows.begin) * cols, part.rows.size() * cols,
                    destination.begin());
    }
}

std::vector<float> CheckpointReader::read_piece(const PieceRecord& piece) const {
    // Opening fails when the file does not have the bytes that the manifest says, so that none are allocated.
    std::vector<float> values;
    try {
        const std::scoped_lock lock(hdf5_);
        open(piece.file);
        values.resize(static_cast<std::size_t>(piece.rows.size() * piece.cols));
    } catch (const IoError& error) {
        throw_again(error, where(piece) + " cannot be read: ");
    }
    read_piece(piece, values);
    return values;
}

void CheckpointReader::check_model_file(Kind kind, const std::string& tensor,
                                        std::span<const VirtualPart> parts) const {
    const std::scoped_lock lock(hdf5_);
    open(kModelFile).check_virtual(logical_name(kind, tensor), manifest_.shapes.at(tensor).dims(), parts);
}

void CheckpointReader::check_names(const std::string& file) const {
    std::set<std::string> expected;
    for (const PieceRecord& piece : manifest_.pieces) {
        if (piece.file == file) expected.insert(piece.dataset);
        if (file == kModelFile) expected.insert(logical_name(piece.id.kind, piece.id.tensor));
    }
    const std::scoped_lock lock(hdf5_);
    const std::vector<std::string> others = open(file).other_names(expected);
    if (others.empty()) return;
    throw IoError(concat(file, " holds ", others.front(), ", which the manifest does not list (",
                         others.size(), " such names)"));
}

std::vector<std::string> verify_checkpoint(const std::filesystem::path& folder) {
    std::vector<std::string> problems;
    const auto attempt = [&](const auto& body) {
        try {
            body();
        } catch (const FileLockError&) {
            throw;
        } catch (const Error& error) {
            problems.emplace_back(error.what());
        }
    };
    std::unique_ptr<CheckpointReader> reader;
    // Not all files are checked here: each is checked by itself below.
    attempt([&] { reader = std::make_unique<CheckpointReader>(folder, read_manifest(folder)); });
    if (!reader) return problems;
    const Manifest& manifest = reader->manifest();
    for (const FileRecord& file : manifest.files) {
        attempt([&] {
            check_size(folder / file.name, manifest);
            if (detail::file_checksum(detail::RegularFile(folder / file.name)) != file.checksum)
                throw IoError(concat(file.name, " was altered: its checksum differs"));
        });
    }
    for (const std::string& problem : coverage_problems(manifest)) problems.push_back(problem);
    for (const auto& [name, values] : manifest.state.router) {
        if (!std::ranges::all_of(values, [](double value) { return std::isfinite(value); }))
            problems.push_back(concat("router state ", name, " holds NaN or infinity: the run had diverged"));
    }
    for (const PieceRecord& piece : manifest.pieces) {
        attempt([&] {
            if (!all_finite(reader->read_piece(piece)))
                throw IoError(concat(where(piece), " hold NaN or infinity: the run had diverged"));
        });
    }
    for (const FileRecord& file : manifest.files) attempt([&] { reader->check_names(file.name); });
    if (manifest.layout == CheckpointLayout::sharded) {
        for (const auto& [name, shown] : detail::virtual_parts(manifest)) {
            attempt([&] { reader->check_model_file(name.first, name.second, shown); });
        }
    }
    return problems;
}

}  // namespace sy::runtime
