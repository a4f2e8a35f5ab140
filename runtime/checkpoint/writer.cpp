#include <algorithm>

#include "comm/collectives.hpp"
#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5_file.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

std::string numbered(const char* prefix, index_t number, int digits, const char* suffix) {
    std::string text = std::to_string(number);
    text.insert(0, static_cast<std::size_t>(std::max(0, digits - static_cast<int>(text.size()))), '0');
    return prefix + text + suffix;
}

/// Runs body on every rank; when any rank fails, all throw its message. @par Collective
template <class Body>
void together(comm::Communicator& world, const char* doing, const Body& body) {
    std::string problem;
    try {
        body();
    } catch (const std::exception& error) {
        problem = error.what();
    }
    std::string all;
    int rank = 0;
    for (const std::string& text : comm::all_gather(world, problem)) {
        if (!text.empty()) all += concat("\n  rank ", rank, ": ", text);
        ++rank;
    }
    if (!all.empty()) throw IoError(concat(doing, " failed; earlier checkpoints are untouched:", all));
}

/// Writes this rank's file. @return its records as text for rank 0
std::string write_shard(const fs::path& folder, const std::vector<Piece>& pieces, int rank) {
    const std::string name = numbered("shard-", rank, 5, ".h5");
    Manifest part;
    {
        Hdf5File file((folder / name).string(), Hdf5File::Mode::create);
        for (const Piece& piece : pieces) {
            const std::string dataset = concat("/", kind_name(piece.kind), "/", piece.tensor, "/",
                                               piece.matrix, ":", piece.rows.begin);
            std::vector<index_t> offset{piece.matrix, piece.rows.begin, 0};
            offset.erase(offset.begin(), offset.begin() + (3 - piece.shape.num_dims()));
            if (piece.shape.num_dims() == 1) offset = {0};
            file.write(dataset, piece.rows.size(), piece.cols, piece.values, piece.shape.dims(), offset);
            part.pieces.push_back({piece.kind, piece.tensor, piece.matrix, piece.rows, piece.cols, name,
                                   dataset, row_checksum(piece.values, piece.cols, piece.rows.begin)});
            part.shapes[piece.tensor] = piece.shape;
        }
        file.close();
    }
    detail::flush_to_disk(folder / name);
    part.files.push_back(detail::describe_file(folder / name));
    return write_manifest(part);
}

void write_text(const fs::path& path, const std::string& text) {
    std::ofstream file(path, std::ios::binary);
    file << text;
    file.close();
    if (!file) throw IoError(concat("writing ", path.string(), " failed: ", std::strerror(errno)));
    detail::flush_to_disk(path);
}

/// Points run/checkpoints/latest to `name`: a new link renamed over the old one, so that there is always one.
void move_latest(const fs::path& checkpoints, const std::string& name) {
    const fs::path fresh = checkpoints / "latest.new";
    fs::remove(fresh);
    fs::create_symlink(name, fresh);
    fs::rename(fresh, checkpoints / "latest");
    detail::flush_to_disk(checkpoints);
}

/// Published checkpoints, oldest first.
std::vector<fs::path> step_folders(const fs::path& checkpoints) {
    std::vector<fs::path> folders;
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
        if (entry.is_directory() && !entry.is_symlink() &&
            entry.path().filename().string().starts_with("step-")) {
            folders.push_back(entry.path());
        }
    }
    std::sort(folders.begin(), folders.end());
    return folders;
}

void remove_old(const fs::path& checkpoints, index_t keep_last) {
    const std::vector<fs::path> whole = step_folders(checkpoints);
    const fs::path latest = fs::canonical(checkpoints / "latest");
    for (index_t i = 0; i + keep_last < static_cast<index_t>(whole.size()); ++i) {
        if (fs::canonical(whole[static_cast<std::size_t>(i)]) != latest)
            fs::remove_all(whole[static_cast<std::size_t>(i)]);
    }
}

/// The manifest text of one rank, given as text so that it travels as it is written.
void merge(Manifest& manifest, const fs::path& scratch, const std::string& text) {
    write_text(scratch / "manifest.json", text);
    const Manifest part = read_manifest(scratch);
    manifest.files.insert(manifest.files.end(), part.files.begin(), part.files.end());
    manifest.pieces.insert(manifest.pieces.end(), part.pieces.begin(), part.pieces.end());
    for (const auto& [name, shape] : part.shapes) manifest.shapes[name] = shape;
}

}  // namespace

fs::path save_checkpoint(const fs::path& run, const std::vector<Piece>& pieces, Manifest manifest,
                         index_t keep_last, comm::Communicator& world) {
    const fs::path checkpoints = run / "checkpoints";
    const std::string name = numbered("step-", manifest.step, 8, "");
    const fs::path unfinished = checkpoints / (".unfinished-" + name);
    together(world, "preparing a checkpoint", [&] {
        if (world.rank() != 0) return;
        fs::create_directories(checkpoints);
        if (fs::exists(checkpoints / name))
            throw IoError(concat((checkpoints / name).string(), " exists already and is not overwritten"));
        // Left by a run that was killed while writing: never named by `latest`.
        for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
            if (entry.path().filename().string().starts_with(".unfinished-")) fs::remove_all(entry.path());
        }
        fs::create_directory(unfinished);
    });
    std::string records;
    together(world, "writing a checkpoint", [&] { records = write_shard(unfinished, pieces, world.rank()); });
    const std::vector<std::string> all = comm::all_gather(world, records);
    together(world, "publishing a checkpoint", [&] {
        if (world.rank() != 0) return;
        for (const std::string& text : all) merge(manifest, unfinished, text);
        write_text(unfinished / "manifest.json", write_manifest(manifest));
        detail::flush_to_disk(unfinished);
        fs::rename(unfinished, checkpoints / name);
        detail::flush_to_disk(checkpoints);
        move_latest(checkpoints, name);
        remove_old(checkpoints, keep_last);
    });
    return checkpoints / name;
}

fs::path find_checkpoint(const fs::path& run, const std::string& which) {
    fs::path path = which == "latest" ? run / "checkpoints" / "latest" : fs::path(which);
    if (!fs::exists(path / "manifest.json")) {
        throw IoError(concat("no checkpoint at ", path.string(),
                             "; give latest, or a folder that holds a manifest.json"));
    }
    path = fs::canonical(path);
    if (which != "latest") return path;
    // A run killed between publishing a folder and moving `latest` leaves a newer folder, which is whole.
    for (const fs::path& folder : step_folders(run / "checkpoints")) {
        if (folder.filename() > path.filename() && fs::exists(folder / "manifest.json"))
            path = fs::canonical(folder);
    }
    return path;
}

}  // namespace sy::runtime
