#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// A block of a dataset: first index and count in each dimension.
struct Region {
    std::vector<index_t> start;
    std::vector<index_t> count;
    index_t num_elements() const;
};

/// What datasets hold, little-endian.
enum class ElementType { f32, i32, u8 };
index_t bytes_of(ElementType type);

/// A part of a virtual dataset: where it shows, and the whole [rows, cols] dataset of another file that it shows.
struct VirtualPart {
    Region region;
    std::string file;  ///< relative to the folder of the virtual one
    std::string dataset;
    index_t rows = 0;
    index_t cols = 0;
};

/// A file of contiguous datasets, for reading. All calls are serialised in the process, since the library is not
/// thread-safe. @throws IoError with the path and the call
class Hdf5File {
  public:
    explicit Hdf5File(const std::string& path);
    ~Hdf5File();
    Hdf5File(const Hdf5File&) = delete;
    Hdf5File& operator=(const Hdf5File&) = delete;

    /// @throws IoError also when the dataset does not have the shape `dims`
    void read(const std::string& name, std::span<const index_t> dims, const Region& region,
              std::span<float> values) const;
    /// Refuses a dataset that is not contiguous little-endian float32, or another type, in this very file, or lies behind
    /// links. @throws IoError saying what it is instead
    void check_plain(const std::string& name, ElementType type = ElementType::f32) const;
    /// Dimensions of a plain dataset, whose values the file has room for. @throws IoError otherwise
    std::vector<index_t> dims_of(const std::string& name, ElementType type) const;
    /// All values of a plain dataset of this type. @param values  as many bytes as it has
    void read_all(const std::string& name, ElementType type, std::span<std::byte> values) const;
    /// Whole numbers that are attached to a dataset or group. @throws IoError when there are none
    std::vector<index_t> attribute(const std::string& name, const char* key) const;
    /// Refuses a dataset that is not virtual, of shape `dims`, showing just `parts`: compared as written in the file,
    /// without opening what it shows. @throws IoError saying what differs
    void check_virtual(const std::string& name, std::span<const index_t> dims,
                       std::span<const VirtualPart> parts) const;
    /// Names of the file that are neither in `expected` nor groups on the way there; links are not followed.
    /// @param expected  datasets, with whole paths
    std::vector<std::string> other_names(const std::set<std::string>& expected) const;
    /// Starts the library. Before MPI is: a parallel one that starts later calls MPI from whatever thread uses it first,
    /// and is shut down inside MPI_Finalize, where a file whose closing had failed ends the program with a signal.
    static void start_library();

  private:
    std::string path_;
    std::int64_t handle_ = -1;
};

}  // namespace sy::runtime
