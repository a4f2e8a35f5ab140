#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "runtime/interchange/gguf.hpp"

/// A model in several files, as llama.cpp's gguf-split makes them: PREFIX-00001-of-00003.gguf has the keys, each its share
/// of the tensors, and all three numbers that say which they are.
namespace sy::runtime::gguf {

/// The tensors of each file: as many as fit into `bytes`, at least one.
std::vector<std::vector<std::size_t>> plan_files(const std::vector<Tensor>& tensors, index_t bytes);

/// "PREFIX-00002-of-00003.gguf" of "PREFIX.gguf". @param file_idx  from 0
std::filesystem::path split_name(const std::filesystem::path& file, index_t file_idx, index_t num_files);

/// What each file begins with. Tensors are placed in their own file.
std::vector<Header> split_headers(const Header& whole, const std::vector<std::vector<std::size_t>>& files);

/// The files of a model, one or several, read as one.
class SplitReader {
  public:
    /// @param path  the file, or the first of several: the others are found beside it
    /// @throws IoError when one is missing, is no part of the same model, or what all say does not fit together
    explicit SplitReader(const std::filesystem::path& path);

    /// The keys of the first file without those of the split, and the tensors of all.
    const Header& header() const { return header_; }
    /// Values of one of the header's tensors from `first` on.
    void read(const Tensor& tensor, index_t first, std::span<float> values) const;

  private:
    struct Place {
        const GgufReader* file;
        const Tensor* tensor;
    };

    std::vector<std::unique_ptr<GgufReader>> files_;
    std::vector<Place> places_;  ///< of header_.tensors
    Header header_;
};

}  // namespace sy::runtime::gguf
