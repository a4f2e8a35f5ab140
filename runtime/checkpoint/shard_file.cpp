#include "runtime/checkpoint/shard_file.hpp"

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/regions.hpp"

namespace sy::runtime::detail {

PieceRecord record_of(const Piece& piece, const std::string& file, const std::string& dataset) {
    return {piece.id, piece.rows, piece.cols,
            file,     dataset,    row_checksum(piece.values, piece.cols, piece.rows.begin)};
}

ShardFile::ShardFile(const std::filesystem::path& folder, const std::string& name)
    : path_(folder / name), file_(path_.string(), Hdf5File::Mode::create) {}

void ShardFile::add(const Piece& piece) {
    const std::string dataset = shard_dataset(piece.id, piece.rows.begin);
    contents_.pieces.push_back(record_of(piece, path_.filename().string(), dataset));
    contents_.shapes[piece.id.tensor] = piece.shape;
    const Place place = place_of(contents_.pieces.back(), contents_);
    file_.create_dataset(dataset, place.dims);
    file_.write(dataset, place.region, piece.values);
    file_.write_attribute(dataset, "global_shape", piece.shape.dims());
    file_.write_attribute(dataset, "offset",
                          region_in_tensor(piece.shape, piece.id.matrix, piece.rows).start);
}

Manifest ShardFile::finish() {
    file_.close();
    flush_to_disk(path_);
    contents_.files.push_back(describe_file(path_));
    return std::move(contents_);
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
    Hdf5File file(path.string(), Hdf5File::Mode::create);
    file.write_attribute("/", "step", std::span(&manifest.step, 1));
    for (const auto& [name, shown] : virtual_parts(manifest)) {
        file.create_virtual(logical_name(name.first, name.second), manifest.shapes.at(name.second).dims(),
                            shown);
    }
    file.close();
    flush_to_disk(path);
    manifest.files.push_back(describe_file(path));
}

}  // namespace sy::runtime::detail
