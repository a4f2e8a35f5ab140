#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/types.hpp"

namespace sy::runtime {

/// A block of a dataset: first index and count in each dimension.
struct Region {
    std::vector<index_t> start;
    std::vector<index_t> count;
    index_t num_elements() const;
};

/// A part of a virtual dataset: where it shows, and the whole [rows, cols] dataset of another file that it shows.
struct VirtualPart {
    Region region;
    std::string file;  ///< relative to the folder of the virtual one
    std::string dataset;
    index_t rows = 0;
    index_t cols = 0;
};

/// A file of contiguous float32 datasets. All calls are serialised in the process, since the library is not thread-safe.
/// The bytes of a file depend on what is written alone, not on the time. @throws IoError with the path and the call
class Hdf5File {
  public:
    enum class Mode { create, modify, read };

    /// Creating refuses an existing file.
    Hdf5File(const std::string& path, Mode mode);
    ~Hdf5File();
    Hdf5File(const Hdf5File&) = delete;
    Hdf5File& operator=(const Hdf5File&) = delete;

    /// Creates a file with all ranks of `world`, with MPI-IO: then every call but read() is collective, with the
    /// same names and shapes on every rank. @return nothing when the world is not MPI's or HDF5 is not parallel
    /// @par Collective over `world`
    static std::unique_ptr<Hdf5File> create_together(const std::string& path, comm::Communicator& world);

    /// A dataset with its space, to be written later. Groups on the way are made.
    void create_dataset(const std::string& name, std::span<const index_t> dims);
    /// A dataset that shows parts of other files; what none of them covers, or cannot be opened, reads as NaN.
    void create_virtual(const std::string& name, std::span<const index_t> dims,
                        std::span<const VirtualPart> parts);
    void write_attribute(const std::string& name, const char* key, std::span<const index_t> values);
    /// @param region  may be empty where others write, when the file was created together
    void write(const std::string& name, const Region& region, std::span<const float> values);
    /// @throws IoError also when the dataset does not have the shape `dims`
    void read(const std::string& name, std::span<const index_t> dims, const Region& region,
              std::span<float> values) const;
    /// Refuses a dataset that is not contiguous little-endian float32 in this very file, or lies behind links.
    /// @throws IoError saying what it is instead
    void check_plain(const std::string& name) const;
    /// Refuses a dataset that is not virtual, of shape `dims`, showing just `parts`: compared as written in the file,
    /// without opening what it shows. @throws IoError saying what differs
    void check_virtual(const std::string& name, std::span<const index_t> dims,
                       std::span<const VirtualPart> parts) const;
    /// Names of the file that are neither in `expected` nor groups on the way there; links are not followed.
    /// @param expected  datasets, with whole paths
    std::vector<std::string> other_names(const std::set<std::string>& expected) const;
    /// Writes out and closes; must be called after writing, since the destructor only logs.
    void close();

    /// Starts the library, which may call MPI, in the calling thread: before another one uses it.
    static void start_library();

  private:
    enum class Transfer { independent, collective };
    Hdf5File(const std::string& path, std::int64_t access_list);

    std::string path_;
    std::int64_t handle_ = -1;
    Transfer transfer_ = Transfer::independent;
};

}  // namespace sy::runtime
