#include "runtime/checkpoint/single_file.hpp"

#include <algorithm>
#include <map>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5/file_layout.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/shard_file.hpp"

namespace sy::runtime::detail {
namespace {

namespace fs = std::filesystem;

std::vector<FileSection> lay_out(const fs::path& path, const std::map<std::string, Shape>& shapes,
                                 index_t step) {
    FileLayout layout(path.string());
    layout.add_attribute("step", std::span(&step, 1));
    for (const Kind kind : kKinds) {
        for (const auto& [tensor, shape] : shapes)
            layout.add_dataset(logical_name(kind, tensor), shape.dims());
    }
    return layout.finish();
}

/// Makes the file in its whole size, with HDF5's own bytes. Flushed to disk by rank 0 with its rows.
void create_file(const fs::path& path, const std::vector<FileSection>& sections) {
    OutputFile file(path, OutputFile::Mode::create);
    file.resize(sections.back().offset + sections.back().bytes);
    for (const FileSection& section : sections) file.write(section.offset, section.description);
    file.close();
}

/// Where the datasets begin, in order of kinds and tensors: rank 0 knows.
/// @par Collective
std::map<std::string, index_t> share_offsets(const std::vector<FileSection>& sections,
                                             const std::map<std::string, Shape>& shapes,
                                             comm::Communicator& world) {
    std::map<std::string, index_t> offset_of;
    for (const Kind kind : kKinds) {
        for (const auto& [tensor, shape] : shapes) offset_of[logical_name(kind, tensor)] = 0;
    }
    for (const FileSection& section : sections) {
        if (!section.dataset.empty()) offset_of.at(section.dataset) = section.offset;
    }
    std::vector<index_t> offsets;
    for (const auto& [name, offset] : offset_of) offsets.push_back(offset);
    comm::broadcast(world, std::span(offsets), 0);
    std::size_t idx = 0;
    for (auto& [name, offset] : offset_of) offset = offsets[idx++];
    return offset_of;
}

/// Where the rows of a piece begin in the file.
index_t place_in_file(const Piece& piece, const std::map<std::string, index_t>& offset_of) {
    const index_t first_row = piece.id.matrix * matrix_shape(piece.shape).rows + piece.rows.begin;
    return offset_of.at(logical_name(piece.id.kind, piece.id.tensor)) +
           first_row * piece.cols * static_cast<index_t>(sizeof(float));
}

/// row_checksum of rows that begin at `offset`.
std::uint64_t checksum_in_file(const RegularFile& file, index_t offset, Range rows, index_t cols) {
    const index_t row_bytes = cols * static_cast<index_t>(sizeof(float));
    const index_t rows_at_once = std::max<index_t>(1, kBlockBytes / row_bytes);
    std::vector<float> memory;
    std::uint64_t sum = 0;
    for (index_t row = rows.begin; row < rows.end; row += rows_at_once) {
        memory.resize(static_cast<std::size_t>(std::min(rows_at_once, rows.end - row) * cols));
        file.read(offset + (row - rows.begin) * row_bytes, std::as_writable_bytes(std::span(memory)));
        sum += row_checksum(memory, cols, row);
    }
    return sum;
}

void check_written(const RegularFile& file, const fs::path& path, const FileSection& section) {
    std::vector<std::byte> found(section.description.size());
    file.read(section.offset, found);
    if (found != section.description)
        throw IoError(concat(path.string(), ": bytes ", section.offset, " to ",
                             section.offset + section.bytes,
                             " read back from the disk other than they were written"));
}

}  // namespace

Manifest write_single_file(const fs::path& folder, const std::vector<Piece>& pieces, index_t step,
                           comm::Communicator& world) {
    Manifest part;
    for (const Piece& piece : pieces) {
        part.pieces.push_back({piece.id, piece.rows, piece.cols, kModelFile,
                               logical_name(piece.id.kind, piece.id.tensor),
                               row_checksum(piece.values, piece.cols, piece.rows.begin)});
        part.shapes[piece.id.tensor] = piece.shape;
    }
    Manifest whole;
    for (const std::string& text : comm::all_gather(world, write_manifest(part)))
        whole.add(parse_manifest(text, "a rank's part of the manifest"));
    const fs::path path = folder / kModelFile;
    std::vector<FileSection> sections;
    fail_on_all_ranks(world, kWritingFailed, [&] {
        if (world.rank() != 0) return;
        sections = lay_out(path, whole.shapes, step);
        create_file(path, sections);
    });
    const std::map<std::string, index_t> offset_of = share_offsets(sections, whole.shapes, world);
    fail_on_all_ranks(world, kWritingFailed, [&] {
        OutputFile file(path, OutputFile::Mode::shared);
        for (const Piece& piece : pieces)
            file.write(place_in_file(piece, offset_of), std::as_bytes(piece.values));
        file.flush();
        file.close();
    });
    std::uint64_t checksum = 0;
    index_t bytes = 0;
    fail_on_all_ranks(world, kWritingFailed, [&] {
        const RegularFile file(path);
        file.forget_cached();
        bytes = file.bytes();
        for (const FileSection& section : sections) check_written(file, path, section);
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            const PieceRecord& piece = part.pieces[i];
            const index_t offset = place_in_file(pieces[i], offset_of);
            if (checksum_in_file(file, offset, piece.rows, piece.cols) != piece.checksum)
                throw IoError(
                    concat(path.string(), ": ", piece.id.to_string(), " rows ", piece.rows.begin, " to ",
                           piece.rows.end, " read back from the disk other than they were ",
                           "written; a file system on which several nodes cannot write one file, as "
                           "NFS, needs checkpoint.layout = sharded"));
        }
        checksum = file_checksum(file, world.rank(), world.size());
    });
    comm::all_reduce(world, std::span(&checksum, 1));
    if (world.rank() == 0) part.files.push_back({kModelFile, bytes, checksum});
    return part;
}

}  // namespace sy::runtime::detail
