#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/interchange/safetensors.hpp"

namespace sy::runtime {

/// The safetensors files of a folder as transformers writes it, one or several with an index.
class HfWeights {
  public:
    /// @throws IoError with everything that is wrong: files that are missing or no safetensors, names that are no plain
    ///         names of files, tensors that the index and the files do not both have
    explicit HfWeights(const std::filesystem::path& folder);

    /// Shapes of all tensors by name.
    std::map<std::string, Shape> shapes() const;
    /// Rows of a tensor as a matrix whose columns are its last dimension.
    /// @throws IoError naming the tensor when a value is not finite
    void read_rows(const std::string& name, Range rows, std::span<float> values) const;

  private:
    struct Place {
        const SafetensorsFile* file = nullptr;
        const SafetensorsEntry* entry = nullptr;
    };
    void open(const std::filesystem::path& path);
    void check_index(const std::filesystem::path& path, const std::map<std::string, std::string>& weight_map);

    std::vector<std::unique_ptr<SafetensorsFile>> files_;
    std::map<std::string, Place> places_;
    std::map<std::string, std::string> file_of_;  ///< of each tensor, by name
};

}  // namespace sy::runtime
