#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/interchange/foreign_model.hpp"
#include "runtime/interchange/storage.hpp"

namespace sy::runtime {

/// A tensor of another program, and how its file stores it.
struct TensorToStore {
    const ForeignTensor* tensor = nullptr;
    Storage storage = Storage::f32;
};

/// Its bytes in the file.
struct StoredTensor {
    std::span<const std::byte> bytes;  ///< valid until `use` returns
    std::string sha256;
};

/// The values of tensors, from a checkpoint, as a file stores them. All cores read, transpose, encode and hash ahead of
/// `use`, which the caller's thread calls for each tensor in order. Holds 512 MiB of values, or one tensor when that is
/// larger, and a matrix of the checkpoint for each core.
/// @pre     the tensors' model has no layout_problems() with this checkpoint
/// @throws  what `use` throws; IoError for the first tensor with a missing or altered part, or a value that is not finite
///          or that its storage cannot hold, by name
void for_each_stored(const CheckpointReader& reader, std::span<const TensorToStore> tensors,
                     const std::function<void(std::size_t tensor_idx, const StoredTensor& stored)>& use);

}  // namespace sy::runtime
