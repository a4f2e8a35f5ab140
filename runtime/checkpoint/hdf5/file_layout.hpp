#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/hdf5/file.hpp"

namespace sy::runtime {

/// A range of a file's bytes: values of one dataset, or what HDF5 writes to describe them.
struct FileSection {
    index_t offset = 0;
    index_t bytes = 0;
    std::string dataset;                 ///< whose values stand here; empty for HDF5's own bytes
    std::vector<std::byte> description;  ///< HDF5's own bytes
};

/// An HDF5 file of contiguous datasets without its values: HDF5 lays it out in memory and says where which values
/// belong. The file itself is written by us, so that no failure of the disk is left to HDF5, which hides some and crashes
/// on others. The bytes depend on what is added alone, not on the time.
/// All calls are serialised in the process. @throws IoError with the path and the call
class FileLayout {
  public:
    /// @param path  what the file is called in messages; nothing is opened there
    explicit FileLayout(std::string path);
    ~FileLayout();
    FileLayout(const FileLayout&) = delete;
    FileLayout& operator=(const FileLayout&) = delete;

    struct Attribute {
        const char* key;
        std::span<const index_t> values;
    };
    /// A dataset whose values follow. Groups on the way are made.
    void add_dataset(const std::string& name, std::span<const index_t> dims,
                     std::span<const Attribute> attributes = {}, ElementType type = ElementType::f32);
    /// A dataset that shows parts of other files; what none of them covers, or cannot be opened, reads as NaN.
    void add_virtual(const std::string& name, std::span<const index_t> dims,
                     std::span<const VirtualPart> parts);
    /// An attribute of the file itself.
    void add_attribute(const char* key, std::span<const index_t> values);
    /// Ends the layout. @return all bytes of the file, in order and without gaps
    std::vector<FileSection> finish();

  private:
    FileSection description_of(index_t begin, index_t end) const;
    void attach(std::int64_t object, const std::string& name, const Attribute& attribute) const;

    std::string path_;
    int memory_ = -1;  ///< a file without a name, sparse where values belong
    std::int64_t file_ = -1;
    struct Creation;
    std::unique_ptr<Creation> creation_;     ///< of datasets with values
    std::map<index_t, FileSection> values_;  ///< by offset
};

}  // namespace sy::runtime
