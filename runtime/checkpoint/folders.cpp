#include "runtime/checkpoint/folders.hpp"

#include <algorithm>
#include <charconv>
#include <system_error>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/hdf5/file_lock.hpp"

namespace sy::runtime {

namespace fs = std::filesystem;

namespace {

constexpr const char* kLatest = "latest";
/// Names the checkpoint that is being published, and then becomes `latest`.
constexpr const char* kNextLatest = "latest.new";
constexpr std::string_view kStepPrefix = "step-";
/// Begins the names of folders that are being written or removed, or were when a run was killed.
constexpr const char* kUnfinished = ".unfinished-";

/// A file that is open elsewhere may stay, as on NFS: that costs space, and is no reason to end a run.
void remove_or_note(const fs::path& folder, std::vector<std::string>& notes) {
    std::error_code problem;
    fs::remove_all(folder, problem);
    if (problem)
        notes.push_back(concat("could not remove ", folder.string(), ": ", problem.message(),
                               "; the next checkpoint tries again"));
}

/// The published step that a link in `checkpoints` names; nothing when there is no such link or no such step.
std::optional<index_t> step_named_by(const fs::path& checkpoints, const char* link) {
    if (!fs::is_symlink(checkpoints / link)) return std::nullopt;
    const std::optional<index_t> step = detail::step_of(fs::read_symlink(checkpoints / link).string());
    if (!step || !fs::is_directory(checkpoints / detail::step_name(*step))) return std::nullopt;
    return step;
}

/// What latest means: a publication under way that has its folder lacks only the move of the link.
std::optional<index_t> latest_step(const fs::path& checkpoints) {
    const std::optional<index_t> next = step_named_by(checkpoints, kNextLatest);
    return next ? next : step_named_by(checkpoints, kLatest);
}

void make_next_latest(const fs::path& checkpoints, index_t step) {
    fs::remove(checkpoints / kNextLatest);
    fs::create_symlink(detail::step_name(step), checkpoints / kNextLatest);
    detail::flush_to_disk(checkpoints);
}

/// What is wrong with `latest`, which names no published step.
std::string trouble_with_link(const fs::path& checkpoints) {
    const fs::path link = checkpoints / kLatest;
    if (!fs::is_symlink(link)) return link.string() + " is missing";
    const std::string target = fs::read_symlink(link).string();
    return concat(link.string(), " names ", target,
                  detail::step_of(target) ? ", which is not there" : ", which is no checkpoint of a run");
}

}  // namespace

namespace detail {

std::string step_name(index_t step) {
    return numbered(kStepPrefix.data(), step, 8, "");
}

std::optional<index_t> step_of(const std::string& name) {
    if (!name.starts_with(kStepPrefix)) return std::nullopt;
    index_t step = 0;
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + kStepPrefix.size(), end, step);
    if (parsed.ec != std::errc{} || parsed.ptr != end || step < 0 || step_name(step) != name)
        return std::nullopt;
    return step;
}

std::vector<index_t> published_steps(const fs::path& checkpoints) {
    std::vector<index_t> steps;
    if (!fs::is_directory(checkpoints)) return steps;
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
        const std::optional<index_t> step = step_of(entry.path().filename().string());
        if (step && entry.is_directory() && !entry.is_symlink()) steps.push_back(*step);
    }
    std::sort(steps.begin(), steps.end());
    return steps;
}

std::string advice_on_newest_whole(const fs::path& checkpoints) {
    const std::vector<index_t> steps = published_steps(checkpoints);
    if (steps.empty()) return "";
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        const fs::path folder = checkpoints / step_name(*step);
        try {
            if (verify_checkpoint(folder).empty())
                return concat("; the newest whole checkpoint is ", folder.string(),
                              "; go on from it with --resume ", folder.string());
        } catch (const FileLockError& error) {
            return concat("; whether ", folder.string(), " is whole cannot be said: ", error.what());
        }
    }
    return concat("; none of the checkpoints in ", checkpoints.string(), " is whole");
}

bool holds_checkpoints(const fs::path& checkpoints) {
    return !published_steps(checkpoints).empty() || fs::is_symlink(checkpoints / kLatest);
}

fs::path latest_checkpoint(const fs::path& checkpoints) {
    if (const std::optional<index_t> step = latest_step(checkpoints)) return checkpoints / step_name(*step);
    if (!holds_checkpoints(checkpoints))
        throw IoError(concat("no checkpoint at ", (checkpoints / kLatest).string(),
                             "; start a run without --resume, or give a folder that holds a manifest.json"));
    throw IoError(concat(trouble_with_link(checkpoints), advice_on_newest_whole(checkpoints)));
}

std::vector<std::string> make_unfinished(const fs::path& checkpoints, index_t step) {
    const std::string name = step_name(step);
    if (fs::create_directories(checkpoints)) flush_to_disk(fs::absolute(checkpoints).parent_path());
    if (fs::exists(checkpoints / name))
        throw IoError(concat((checkpoints / name).string(), " exists already and is not overwritten"));
    std::vector<std::string> notes;
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoints)) {
        if (entry.path().filename().string().starts_with(kUnfinished)) remove_or_note(entry.path(), notes);
    }
    const fs::path unfinished = checkpoints / (kUnfinished + name);
    if (!fs::create_directory(unfinished))
        throw IoError(concat(unfinished.string(), " is there and could not be removed"));
    return notes;
}

void rename_finished(const fs::path& unfinished, const fs::path& folder) {
    flush_to_disk(unfinished);
    if (fs::exists(folder)) throw IoError(concat(folder.string(), " exists already and is not overwritten"));
    fs::rename(unfinished, folder);
    flush_to_disk(folder.parent_path());
}

void write_new_folder(const fs::path& new_folder, const std::function<void(const fs::path&)>& fill) {
    fs::path to = fs::absolute(new_folder).lexically_normal();
    if (!to.has_filename()) to = to.parent_path();
    if (fs::exists(to)) throw IoError(concat(to.string(), " exists already and is not overwritten"));
    if (!fs::is_directory(to.parent_path()))
        throw IoError(
            concat("there is no folder ", to.parent_path().string(), " to make ", to.string(), " in"));
    const fs::path unfinished = to.parent_path() / concat(kUnfinished, to.filename().string());
    if (!fs::create_directory(unfinished)) {
        throw IoError(concat(unfinished.string(), " is there, from a command that goes on or was ended; ",
                             "remove it if none goes on"));
    }
    try {
        fill(unfinished);
        rename_finished(unfinished, to);
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(unfinished, ignored);
        throw;
    }
}

void point_latest_to(const fs::path& checkpoints, index_t step) {
    if (step_named_by(checkpoints, kNextLatest) != step) make_next_latest(checkpoints, step);
    // The new link replaces the old one, so that there is always one.
    fs::rename(checkpoints / kNextLatest, checkpoints / kLatest);
    flush_to_disk(checkpoints);
}

void publish_finished(const fs::path& unfinished, const fs::path& checkpoints, index_t step) {
    // Whoever finds this link beside the folder that it names knows that the publication was under way.
    make_next_latest(checkpoints, step);
    rename_finished(unfinished, checkpoints / step_name(step));
    point_latest_to(checkpoints, step);
}

std::optional<index_t> last_good_step(const fs::path& checkpoints) {
    const std::vector<index_t> steps = published_steps(checkpoints);
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
        try {
            if (read_manifest(checkpoints / step_name(*step)).state.skipped_in_a_row == 0) return *step;
        } catch (const IoError&) {
            // A damaged one is not good.
        }
    }
    return std::nullopt;
}

std::vector<std::string> remove_old(const fs::path& checkpoints, index_t keep_last,
                                    std::optional<index_t> kept) {
    const std::vector<index_t> steps = published_steps(checkpoints);
    const std::optional<index_t> latest = latest_step(checkpoints);
    std::vector<std::string> notes;
    for (std::size_t i = 0; i + static_cast<std::size_t>(keep_last) < steps.size(); ++i) {
        if (steps[i] == latest || steps[i] == kept) continue;
        // Under another name first: what is removed in part must not look like a checkpoint.
        const fs::path folder = checkpoints / step_name(steps[i]);
        const fs::path removed = checkpoints / concat(kUnfinished, "removal-of-", step_name(steps[i]));
        std::error_code problem;
        fs::rename(folder, removed, problem);
        if (problem) {
            notes.push_back(concat("could not remove ", folder.string(), ": ", problem.message()));
        } else {
            remove_or_note(removed, notes);
        }
    }
    return notes;
}

}  // namespace detail

fs::path follow_latest(const fs::path& path) {
    const fs::path named = path.has_filename() ? path : path.parent_path();
    // A folder of that name, as copying without links makes it, is an ordinary one. A link may lead nowhere.
    std::error_code ignored;
    const bool is_folder = !fs::is_symlink(named, ignored) && fs::is_directory(named, ignored);
    return named.filename() == kLatest && !is_folder ? detail::latest_checkpoint(named.parent_path()) : path;
}

fs::path find_checkpoint(const fs::path& run, const std::string& which) {
    const fs::path path = follow_latest(which == kLatest ? run / "checkpoints" / kLatest : fs::path(which));
    std::error_code problem;
    if (fs::exists(path / "manifest.json", problem)) return fs::canonical(path);
    const fs::path named = path.has_filename() ? path : path.parent_path();
    const fs::path checkpoints = fs::absolute(named).parent_path();
    const bool beside_others = detail::holds_checkpoints(checkpoints);
    throw IoError(concat("no checkpoint at ", path.string(),
                         fs::is_directory(path, problem) ? ", whose manifest.json is missing" : "",
                         beside_others ? detail::advice_on_newest_whole(checkpoints)
                                       : "; start a run without --resume, or give a folder that holds a "
                                         "manifest.json"));
}

}  // namespace sy::runtime
