#include "runtime/checkpoint/single_file.hpp"

#include <algorithm>
#include <map>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/regions.hpp"
#include "runtime/checkpoint/shard_file.hpp"
#include "runtime/checkpoint/together.hpp"

namespace sy::runtime::detail {
namespace {

/// Rows of a piece that are written at once.
struct Slice {
    std::size_t piece_idx;
    Range rows;
};

/// One dataset of the file.
struct Dataset {
    std::string name;
    Shape shape;
    std::vector<Slice> slices;   ///< that this rank writes, in order
    std::size_t num_rounds = 0;  ///< collective writes: of the rank that has the most; the same on every rank
};

/// A rank's slices by dataset.
std::map<std::string, std::vector<Slice>> slices_of(const Manifest& part, index_t slice_bytes) {
    std::map<std::string, std::vector<Slice>> slices;
    for (std::size_t i = 0; i < part.pieces.size(); ++i) {
        const PieceRecord& piece = part.pieces[i];
        const index_t step =
            std::max<index_t>(1, slice_bytes / (piece.cols * static_cast<index_t>(sizeof(float))));
        for (index_t row = piece.rows.begin; row < piece.rows.end; row += step)
            slices[piece.dataset].push_back({i, {row, std::min(row + step, piece.rows.end)}});
    }
    return slices;
}

/// @param parts  of all ranks
std::vector<Dataset> plan_datasets(const std::vector<Manifest>& parts, int rank, index_t slice_bytes) {
    Manifest whole;
    std::map<std::string, std::size_t> rounds;
    for (const Manifest& part : parts) {
        whole.add(part);
        for (const auto& [name, slices] : slices_of(part, slice_bytes))
            rounds[name] = std::max(rounds[name], slices.size());
    }
    std::map<std::string, std::vector<Slice>> mine =
        slices_of(parts[static_cast<std::size_t>(rank)], slice_bytes);
    std::vector<Dataset> datasets;
    for (const Kind kind : kKinds) {
        for (const auto& [tensor, shape] : whole.shapes) {
            const std::string name = logical_name(kind, tensor);
            datasets.push_back({name, shape, std::move(mine[name]), rounds[name]});
        }
    }
    return datasets;
}

void create_datasets(Hdf5File& file, const std::vector<Dataset>& datasets, index_t step) {
    file.write_attribute("/", "step", std::span(&step, 1));
    for (const Dataset& dataset : datasets) file.create_dataset(dataset.name, dataset.shape.dims());
}

/// @param num_rounds  at least the number of this rank's slices; the further ones are empty
void write_dataset(Hdf5File& file, const Dataset& dataset, std::size_t num_rounds,
                   const std::vector<Piece>& pieces) {
    for (std::size_t round = 0; round < num_rounds; ++round) {
        if (round >= dataset.slices.size()) {
            file.write(dataset.name, {}, {});
            continue;
        }
        const Piece& piece = pieces[dataset.slices[round].piece_idx];
        const Range rows = dataset.slices[round].rows;
        file.write(
            dataset.name, region_in_tensor(dataset.shape, piece.id.matrix, rows),
            piece.values.subspan(static_cast<std::size_t>((rows.begin - piece.rows.begin) * piece.cols),
                                 static_cast<std::size_t>(rows.size() * piece.cols)));
    }
}

/// One rank after the other, with the serial driver.
void write_in_turns(const std::filesystem::path& path, const std::vector<Dataset>& datasets,
                    const std::vector<Piece>& pieces, index_t step, comm::Communicator& world) {
    together(world, "creating a checkpoint file", [&] {
        if (world.rank() != 0) return;
        Hdf5File file(path.string(), Hdf5File::Mode::create);
        create_datasets(file, datasets, step);
        file.close();
    });
    for (int turn = 0; turn < world.size(); ++turn) {
        together(world, "writing a checkpoint", [&] {
            if (turn != world.rank()) return;
            Hdf5File file(path.string(), Hdf5File::Mode::modify);
            for (const Dataset& dataset : datasets)
                write_dataset(file, dataset, dataset.slices.size(), pieces);
            file.close();
        });
    }
}

}  // namespace

Manifest write_single_file(const std::filesystem::path& folder, const std::vector<Piece>& pieces,
                           index_t step, comm::Communicator& world, index_t slice_bytes) {
    Manifest part;
    for (const Piece& piece : pieces) {
        part.pieces.push_back(record_of(piece, kModelFile, logical_name(piece.id.kind, piece.id.tensor)));
        part.shapes[piece.id.tensor] = piece.shape;
    }
    std::vector<Manifest> parts;
    for (const std::string& text : comm::all_gather(world, write_manifest(part)))
        parts.push_back(parse_manifest(text, "a rank's part of the manifest"));
    const std::vector<Dataset> datasets = plan_datasets(parts, world.rank(), slice_bytes);
    const std::filesystem::path path = folder / kModelFile;
    std::unique_ptr<Hdf5File> file;
    together(world, "creating a checkpoint file",
             [&] { file = Hdf5File::create_together(path.string(), world); });
    if (file) {
        together(world, "writing a checkpoint", [&] {
            create_datasets(*file, datasets, step);
            for (const Dataset& dataset : datasets) write_dataset(*file, dataset, dataset.num_rounds, pieces);
            file->close();
        });
    } else {
        write_in_turns(path, datasets, pieces, step, world);
    }
    std::uint64_t checksum = 0;
    together(world, "flushing a checkpoint", [&] { flush_to_disk(path); });
    together(world, "reading a checkpoint back",
             [&] { checksum = file_checksum(path, world.rank(), world.size()); });
    comm::all_reduce(world, std::span(&checksum, 1));
    if (world.rank() == 0)
        part.files.push_back({kModelFile, static_cast<index_t>(std::filesystem::file_size(path)), checksum});
    return part;
}

}  // namespace sy::runtime::detail
