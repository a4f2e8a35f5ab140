#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::runtime {

/// A file of two-dimensional float32 datasets. All calls are serialised in the process, since the library is not
/// thread-safe. @throws IoError with the path, the call and the library's reason
class Hdf5File {
  public:
    enum class Mode { create, read };

    /// Creating refuses an existing file.
    Hdf5File(const std::string& path, Mode mode);
    ~Hdf5File();
    Hdf5File(const Hdf5File&) = delete;
    Hdf5File& operator=(const Hdf5File&) = delete;

    /// @param name  "/weight/tensor/0:5"; groups on the way are made. Offset and shape are kept as attributes.
    void write(const std::string& name, index_t rows, index_t cols, std::span<const float> values,
               std::span<const index_t> global_shape, std::span<const index_t> offset);
    /// Rows [rows] of a dataset of `cols` columns.
    void read(const std::string& name, Range rows, index_t cols, std::span<float> values) const;
    /// Writes out and closes; must be called after writing, since the destructor only logs.
    void close();

  private:
    std::string path_;
    std::int64_t handle_ = -1;
};

}  // namespace sy::runtime
