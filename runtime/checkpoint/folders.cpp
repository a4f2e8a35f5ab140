#include "runtime/checkpoint/folders.hpp"

#include <algorithm>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/files.hpp"

namespace sy::runtime {

namespace fs = std::filesystem;

namespace {

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

}  // namespace

namespace detail {

std::string step_name(index_t step) {
    return numbered("step-", step, 8, "");
}

fs::path make_unfinished(const fs::path& checkpoints, index_t step) {
    const std::string name = step_name(step);
    fs::create_directories(checkpoints);
    if (fs::exists(checkpoints / name))
        throw IoError(concat((checkpoints / name).string(), " exists already and is not overwritten"));
    // Left by a run that was killed while writing: never named by `latest`.
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
        if (entry.path().filename().string().starts_with(".unfinished-")) fs::remove_all(entry.path());
    }
    const fs::path unfinished = checkpoints / (".unfinished-" + name);
    fs::create_directory(unfinished);
    return unfinished;
}

void rename_finished(const fs::path& unfinished, const fs::path& folder) {
    flush_to_disk(unfinished);
    if (fs::exists(folder)) throw IoError(concat(folder.string(), " exists already and is not overwritten"));
    fs::rename(unfinished, folder);
    flush_to_disk(folder.parent_path());
}

void move_latest(const fs::path& checkpoints, const std::string& name) {
    // A new link renamed over the old one, so that there is always one.
    const fs::path fresh = checkpoints / "latest.new";
    fs::remove(fresh);
    fs::create_symlink(name, fresh);
    fs::rename(fresh, checkpoints / "latest");
    flush_to_disk(checkpoints);
}

void remove_old(const fs::path& checkpoints, index_t keep_last) {
    const std::vector<fs::path> whole = step_folders(checkpoints);
    const fs::path latest = fs::canonical(checkpoints / "latest");
    for (index_t i = 0; i + keep_last < static_cast<index_t>(whole.size()); ++i) {
        if (fs::canonical(whole[static_cast<std::size_t>(i)]) != latest)
            fs::remove_all(whole[static_cast<std::size_t>(i)]);
    }
}

}  // namespace detail

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
