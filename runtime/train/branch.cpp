#include "runtime/train/branch.hpp"

#include <algorithm>
#include <fstream>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/json/json.hpp"
#include "runtime/telemetry/config.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

/// Tells, line by line, which records of metrics.jsonl or drops.jsonl are of steps after `step`.
class LaterRecords {
  public:
    explicit LaterRecords(index_t step) : step_(step) {}

    bool is_later(const std::string& line) {
        try {
            const Json record = Json::parse(line);
            const Json* type = record.find("type");
            if (type != nullptr && *type == "run") {
                // All that it has done is later, and so is what it says of its end.
                run_is_later_ = record.at("first_step").as_whole() > step_;
                later_ = run_is_later_;
            } else {
                later_ = run_is_later_ || record.at("step").as_whole() > step_;
            }
        } catch (const IoError&) {
            // A line that a killed run left unfinished goes with the one before it.
        }
        return later_;
    }

  private:
    index_t step_;
    bool run_is_later_ = false;
    bool later_ = false;
};

/// Whether a step after `step` was done.
bool has_later_steps(const fs::path& records, index_t step) {
    std::ifstream file(records);
    for (std::string line; std::getline(file, line);) {
        try {
            const Json record = Json::parse(line);
            const Json* const number = record.find("step");
            if (number != nullptr && number->is_whole() && number->as_whole() > step) return true;
        } catch (const IoError&) {
            continue;
        }
    }
    return false;
}

/// 12 of trace-10-12.json, 0 of other names.
index_t last_traced_step(const std::string& name) {
    if (!name.starts_with("trace-") || !name.ends_with(".json")) return 0;
    return parse_traced_steps(name.substr(6, name.size() - 11)).last;
}

/// run/aside-N, the first that is free; made when something goes there.
class Aside {
  public:
    explicit Aside(const fs::path& run) {
        int number = 1;
        while (fs::exists(run / concat("aside-", number))) ++number;
        folder_ = run / concat("aside-", number);
    }
    const fs::path& folder() const { return folder_; }

    void move_checkpoints(const fs::path& checkpoints, const std::vector<index_t>& steps) const {
        const fs::path to = folder_ / "checkpoints";
        fs::create_directories(to);
        for (const index_t step : steps) {
            const std::string name = detail::step_name(step);
            fs::rename(checkpoints / name, to / name);
        }
        detail::flush_to_disk(to);
        detail::flush_to_disk(checkpoints);
    }

    /// Copies later records before they leave the run's file: a kill in between leaves them in both.
    void move_records(const fs::path& records, index_t step) const {
        fs::create_directories(folder_);
        const fs::path remaining = records.string() + ".new";
        // Left by a kill.
        fs::remove(remaining);
        detail::NewFile earlier(remaining);
        detail::NewFile later(folder_ / records.filename());
        LaterRecords cut(step);
        std::ifstream file(records);
        for (std::string line; std::getline(file, line);) {
            detail::NewFile& destination = cut.is_later(line) ? later : earlier;
            line += '\n';
            destination.append(std::as_bytes(std::span(line)));
        }
        if (!file.eof()) throw IoError(concat("reading ", records.string(), " failed"));
        later.finish();
        earlier.finish();
        detail::flush_to_disk(folder_);
        fs::rename(remaining, records);
        detail::flush_to_disk(records.parent_path());
    }

    /// @return whether there were any
    bool move_routing_traces(const fs::path& traces, index_t step) const {
        std::vector<fs::path> later;
        if (fs::exists(traces)) {
            const std::string last = detail::numbered("step-", step, 8, ".h5");
            for (const fs::directory_entry& entry : fs::directory_iterator(traces)) {
                const std::string name = entry.path().filename();
                // Numbers of more digits are of later steps.
                if (name.size() > last.size() || name > last) later.push_back(entry.path());
            }
        }
        if (later.empty()) return false;
        const fs::path to = folder_ / traces.filename();
        fs::create_directories(to);
        for (const fs::path& trace : later) fs::rename(trace, to / trace.filename());
        detail::flush_to_disk(to);
        detail::flush_to_disk(traces);
        return true;
    }

    /// @return whether there were any traces of steps after `step`
    bool move_traces(const fs::path& run, index_t step) const {
        std::vector<fs::path> later;
        if (fs::exists(run)) {
            for (const fs::directory_entry& entry : fs::directory_iterator(run))
                if (last_traced_step(entry.path().filename()) > step) later.push_back(entry.path());
        }
        if (later.empty()) return false;
        fs::create_directories(folder_);
        for (const fs::path& trace : later) fs::rename(trace, folder_ / trace.filename());
        detail::flush_to_disk(folder_);
        detail::flush_to_disk(run);
        return true;
    }

  private:
    fs::path folder_;
};

}  // namespace

void check_new_run(const fs::path& run) {
    if (!detail::holds_checkpoints(run / "checkpoints")) return;
    throw ConfigError(
        concat("run.directory = ", run.string(), " holds checkpoints of an earlier run, and this is a run ",
               "from step 1; add --resume latest to go on with that one, or set another run.directory"));
}

void check_same_run(const fs::path& run, const fs::path& folder, const Manifest& manifest) {
    const fs::path checkpoints = run / "checkpoints";
    if (!detail::holds_checkpoints(checkpoints)) return;
    const fs::path own = checkpoints / detail::step_name(manifest.step);
    if (fs::exists(own)) {
        if (fs::equivalent(own, folder)) return;
        // A copy, in whatever layout.
        const Manifest here = read_manifest(own);
        if (here.step == manifest.step && here.state == manifest.state &&
            here.matrix_checksums() == manifest.matrix_checksums())
            return;
    }
    throw ConfigError(concat("run.directory = ", run.string(), " holds checkpoints, but not ",
                             folder.string(), " of step ", manifest.step,
                             ", so that its steps are of another run; set another ", "run.directory"));
}

std::string begin_branch(const fs::path& run, index_t step) {
    const fs::path checkpoints = run / "checkpoints";
    const std::vector<index_t> steps = detail::published_steps(checkpoints);
    const auto first_later = std::upper_bound(steps.begin(), steps.end(), step);
    const std::vector<index_t> later(first_later, steps.end());
    // The link first: from then on later steps are what nobody goes on with.
    if (first_later != steps.begin() && *(first_later - 1) == step)
        detail::point_latest_to(checkpoints, step);
    const Aside aside(run);
    std::string what;
    if (!later.empty()) {
        aside.move_checkpoints(checkpoints, later);
        what = later.size() == 1 ? concat("the checkpoint of step ", later.front(), ", ")
                                 : concat("checkpoints of steps ", later.front(), " to ", later.back(), ", ");
    }
    for (const char* name : {"metrics.jsonl", "drops.jsonl"}) {
        if (!has_later_steps(run / name, step)) continue;
        aside.move_records(run / name, step);
        what += concat(name, ", ");
    }
    if (aside.move_routing_traces(run / "routing", step)) what += "routing, ";
    if (aside.move_traces(run, step)) what += "traces, ";
    if (what.empty()) return "";
    what.resize(what.size() - 2);
    return concat("what came after step ", step, " in an earlier run of this folder is set aside in ",
                  aside.folder().string(), ": ", what);
}

}  // namespace sy::runtime
