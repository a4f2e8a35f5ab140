#include "runtime/checkpoint/shard_file.hpp"

#include "runtime/checkpoint/hdf5/file_layout.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/checkpoint/regions.hpp"

namespace sy::runtime::detail {

PieceValues values_with_checksum(const Piece& piece) {
    return {piece.values, row_checksum(piece.values, piece.cols, piece.rows.begin)};
}

Manifest write_shard_file(const std::filesystem::path& folder, const std::string& name,
                          std::span<const Piece> pieces,
                          const std::function<PieceValues(std::size_t)>& values_of, const AheadLimit& ahead) {
    const std::filesystem::path path = folder / name;
    FileLayout layout(path.string());
    std::map<std::string, std::size_t> piece_of;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        const Piece& piece = pieces[i];
        const std::string dataset = shard_dataset(piece.id, piece.rows.begin);
        const index_t dims[] = {piece.rows.size(), piece.cols};
        const std::vector<index_t> start = region_in_tensor(piece.shape, piece.id.matrix, piece.rows).start;
        const FileLayout::Attribute attributes[] = {{"global_shape", piece.shape.dims()}, {"offset", start}};
        layout.add_dataset(dataset, dims, attributes);
        piece_of[dataset] = i;
    }
    const std::vector<FileSection> sections = layout.finish();
    std::vector<std::size_t> in_file;  // pieces as they follow each other
    for (const FileSection& section : sections)
        if (!section.dataset.empty()) in_file.push_back(piece_of.at(section.dataset));
    Manifest contents;
    NewFile file(path);
    auto section = sections.begin();
    const auto write_descriptions = [&] {
        for (; section != sections.end() && section->dataset.empty(); ++section)
            file.append(section->description);
    };
    const auto bytes_of = [&](std::size_t i) {
        const Piece& piece = pieces[in_file[i]];
        return piece.rows.size() * piece.cols * index_t{sizeof(float)};
    };
    const auto write = [&](std::size_t i, const PieceValues& found) {
        write_descriptions();
        const Piece& piece = pieces[in_file[i]];
        contents.pieces.push_back({piece.id, piece.rows, piece.cols, name, section->dataset, found.checksum});
        contents.shapes[piece.id.tensor] = piece.shape;
        SY_REQUIRE(found.values.empty() || static_cast<index_t>(found.values.size_bytes()) == section->bytes,
                   "checkpoint: ", found.values.size_bytes(), " bytes of values for ", section->bytes, " of ",
                   section->dataset);
        if (found.values.empty()) {
            file.append_zeros(section->bytes);
        } else {
            file.append(std::as_bytes(found.values));
        }
        ++section;
    };
    make_ahead<PieceValues>(
        in_file.size(), ahead, bytes_of, [&](std::size_t i) { return values_of(in_file[i]); }, write);
    write_descriptions();
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
    layout.add_attribute("step", std::span(&manifest.step, 1));
    for (const auto& [name, shown] : virtual_parts(manifest)) {
        layout.add_virtual(logical_name(name.first, name.second), manifest.shapes.at(name.second).dims(),
                           shown);
    }
    NewFile file(path);
    for (const FileSection& section : layout.finish()) file.append(section.description);
    manifest.files.push_back(file.finish());
}

}  // namespace sy::runtime::detail
