#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

/// Files for targets whose readers take paths: a folder in memory where there is one, which goes with the process.
class ScratchFolder {
  public:
    ScratchFolder()
        : path_((std::filesystem::exists("/dev/shm") ? std::filesystem::path("/dev/shm")
                                                     : std::filesystem::temp_directory_path()) /
                ("switchyard-fuzz-" + std::to_string(::getpid()))) {
        std::filesystem::create_directories(path_);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    const std::filesystem::path& path() const { return path_; }
    /// Path of a file with this text, in place of the one before.
    std::string file(const char* name, std::string_view text) const {
        const std::filesystem::path path = path_ / name;
        std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
        return path.string();
    }

  private:
    std::filesystem::path path_;
};
