#include "runtime/checkpoint/agree.hpp"

#include <future>

#include "runtime/checkpoint/folders.hpp"
#include "runtime/checkpoint/hdf5/file_lock.hpp"
#include "runtime/checkpoint/on_all_ranks.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

/// How rank 0's answer begins.
constexpr char kAnswer = 'a';
constexpr char kConfigProblem = 'c';
constexpr char kOtherProblem = 'o';

std::string answer_or_problem(const std::function<std::string()>& decide) {
    try {
        return kAnswer + decide();
    } catch (const ConfigError& error) {
        return concat(kConfigProblem, error.what());
    } catch (const std::exception& error) {
        return concat(kOtherProblem, error.what());
    }
}

}  // namespace

std::string decided_by_rank_0(comm::Communicator& world, const std::function<std::string()>& decide) {
    std::future<std::string> deciding = std::async(
        std::launch::async, [&] { return world.rank() == 0 ? answer_or_problem(decide) : std::string(); });
    detail::wait_on_all_ranks(world, deciding);
    const std::string told = comm::all_gather(world, deciding.get()).at(0);
    const std::string text = told.substr(1);
    if (told.front() == kConfigProblem) throw ConfigError(text);
    if (told.front() == kOtherProblem) throw IoError(text);
    return text;
}

AgreedCheckpoint agree_on_checkpoint(comm::Communicator& world, const fs::path& run,
                                     const std::string& which) {
    const std::string found = decided_by_rank_0(world, [&] {
        const fs::path folder = find_checkpoint(run, which);
        try {
            const CheckpointReader checks_files(folder);
            return manifest_checksum(read_manifest_text(folder)) + folder.string();
        } catch (const IoError& error) {
            throw IoError(concat(error.what(), detail::advice_on_newest_whole(folder.parent_path())));
        }
    });
    const std::size_t digits = hex(0).size();
    const fs::path folder = found.substr(digits);
    return {folder, detail::read_manifest_of_rank_0(world, folder, found.substr(0, digits))};
}

Manifest detail::read_manifest_of_rank_0(comm::Communicator& world, const fs::path& folder,
                                         const std::string& checksum) {
    Manifest manifest;
    const std::string failure =
        concat("rank 0 reads a manifest with checksum ", checksum, " in ", folder.string(),
               ", others do not; their view of the file system may lag behind: try again");
    detail::fail_on_all_ranks(world, failure.c_str(), [&] {
        const std::string text = read_manifest_text(folder);
        const std::string mine = manifest_checksum(text);
        if (mine != checksum) throw IoError(concat("it reads one with checksum ", mine));
        // Rank 0 has checked this text.
        manifest = parse_manifest(text, (folder / "manifest.json").string());
    });
    return manifest;
}

void with_advice_on_damage(comm::Communicator& world, const fs::path& folder,
                           const std::function<void()>& read) {
    std::string problem;
    try {
        read();
        return;
    } catch (const FileLockError&) {
        throw;
    } catch (const IoError& error) {
        problem = error.what();
    }
    std::string advice;
    try {
        advice =
            decided_by_rank_0(world, [&] { return detail::advice_on_newest_whole(folder.parent_path()); });
    } catch (const CommError&) {
        // A rank that is gone is not what went wrong first.
    }
    throw IoError(concat("checkpoint ", folder.string(), " is damaged", advice, "\n", problem));
}

}  // namespace sy::runtime
