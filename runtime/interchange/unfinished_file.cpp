#include "runtime/interchange/unfinished_file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/files.hpp"

namespace sy::runtime {

namespace fs = std::filesystem;

UnfinishedFile::UnfinishedFile(const char* what, const fs::path& file)
    : file_(file), path_(file.parent_path() / (".unfinished-" + file.filename().string())) {
    if (fs::exists(fs::symlink_status(file_)))
        throw IoError(concat(what, ": ", file_.string(), " exists; give another name"));
    if (fs::exists(fs::symlink_status(path_)))
        throw IoError(concat(what, ": ", path_.string(), " is being written, or was left by an ", what,
                             " that was killed: then remove it"));
}

UnfinishedFile::~UnfinishedFile() {
    std::error_code ignored;
    fs::remove(path_, ignored);
}

void UnfinishedFile::publish() const {
    if (::link(path_.c_str(), file_.c_str()) != 0)
        throw IoError(
            concat("link of ", path_.string(), " to ", file_.string(), " failed: ", std::strerror(errno)));
    try {
        fs::remove(path_);
        detail::flush_to_disk(file_.has_parent_path() ? file_.parent_path() : fs::path("."));
    } catch (...) {
        withdraw();
        throw;
    }
}

void UnfinishedFile::withdraw() const {
    std::error_code ignored;
    fs::remove(file_, ignored);
}

}  // namespace sy::runtime
