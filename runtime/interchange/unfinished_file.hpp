#pragma once

#include <filesystem>

namespace sy::runtime {

/// A new file under another name until it is published. Removed unless it was.
class UnfinishedFile {
  public:
    /// @param what  begins messages: "export"
    /// @throws IoError when there is a file of either name
    UnfinishedFile(const char* what, const std::filesystem::path& file);
    ~UnfinishedFile();
    UnfinishedFile(const UnfinishedFile&) = delete;
    UnfinishedFile& operator=(const UnfinishedFile&) = delete;

    /// Where it is written.
    const std::filesystem::path& path() const { return path_; }
    /// Gives it its name, which it does not take from another file, and flushes the folder to disk.
    /// @throws IoError: then it has not got it
    void publish() const;
    /// Takes a published file away again.
    void withdraw() const;

  private:
    std::filesystem::path file_;
    std::filesystem::path path_;
};

}  // namespace sy::runtime
