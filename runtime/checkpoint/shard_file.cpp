#include "runtime/checkpoint/shard_file.hpp"

#include "runtime/checkpoint/hdf5/file_layout.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/regions.hpp"

namespace sy::runtime::detail {

PieceRecord record_of(const Piece& piece, const std::string& file, const std::string& dataset) {
    return {piece.id, piece.rows, piece.cols,
            file,     dataset,    row_checksum(piece.values, piece.cols, piece.rows.begin)};
}

Manifest write_shard_file(const std::filesystem::path& folder, const std::string& name,
                          std::span<const Piece> pieces,
                          const std::function<std::span<const float>(std::size_t)>& values_of) {
    const std::filesystem::path path = folder / name;
    FileLayout layout(path.string());
    std::map<std::string, std::size_t> piece_of;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const Piece& piece = pieces[i];
        const std::string dataset = shard_dataset(piece.id, piece.rows.begin);
        const index_t dims[] = {piece.rows.size(), piece.cols};
        layout.add_dataset(dataset, dims);
        layout.add_attribute(dataset, "global_shape", piece.shape.dims());
        layout.add_attribute(dataset, "offset",
                             region_in_tensor(piece.shape, piece.id.matrix, piece.rows).start);
        piece_of[dataset] = i;
    }
    Manifest contents;
    NewFile file(path);
    for (const FileSection& section : layout.finish()) {
        if (section.dataset.empty()) {
            file.append(section.description);
            continue;
        }
        const std::size_t idx = piece_of.at(section.dataset);
        Piece piece = pieces[idx];
        piece.values = values_of(idx);
        contents.pieces.push_back(record_of(piece, name, section.dataset));
        contents.shapes[piece.id.tensor] = piece.shape;
        SY_REQUIRE(static_cast<index_t>(piece.values.size_bytes()) == section.bytes,
                   "checkpoint: ", piece.values.size_bytes(), " bytes of values for ", section.bytes, " of ",
                   section.dataset);
        file.append(std::as_bytes(piece.values));
    }
    contents.files.push_back(file.finish());
    return contents;
}

std::map<std::pair<Kind, std::string>, std::vector<VirtualPart>> virtual_parts(const Manifest& manifest) {
    std::map<std::pair<Kind, std::string>, std::vector<VirtualPart>> parts;
    for (const PieceRecord& piece : manifest.pieces) {
        const Shape& shape = manifest.shapes.at(piece.id.tensor);
        parts[{piece.id.kind, piece.id.tensor}].push_back(
            {region_in_tensor(shape, piece.id.matrix, piece.rows), piece.file, piece.dataset,
             piece.rows.size(), piece.cols});
    }
    return parts;
}

void write_virtual_model(const std::filesystem::path& folder, Manifest& manifest) {
    const std::filesystem::path path = folder / kModelFile;
    FileLayout layout(path.string());
    layout.add_attribute("/", "step", std::span(&manifest.step, 1));
    for (const auto& [name, shown] : virtual_parts(manifest)) {
        layout.add_virtual(logical_name(name.first, name.second), manifest.shapes.at(name.second).dims(),
                           shown);
    }
    NewFile file(path);
    for (const FileSection& section : layout.finish()) file.append(section.description);
    manifest.files.push_back(file.finish());
}

}  // namespace sy::runtime::detail
