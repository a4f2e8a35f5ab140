#include "runtime/interchange/stored_tensors.hpp"

#include <utility>

#include "kernels/core/ordered_work.hpp"
#include "runtime/checkpoint/value_memory.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/sha256.hpp"

namespace sy::runtime {
namespace {

struct Made {
    ValueMemory memory;
    std::span<const std::byte> bytes;
    std::string sha256;
};

/// Memory that a tensor needs while it is made.
index_t bytes_of(const TensorToStore& what) {
    const index_t values = what.tensor->shape.num_elements();
    const index_t value_bytes = values * index_t{sizeof(float)};
    return what.storage == Storage::f32 ? value_bytes : value_bytes + storage_bytes(what.storage, values);
}

/// Values of a tensor as its file stores them: float32 values as they are here.
/// @throws IoError naming a value that the storage cannot hold
Made encoded(const TensorToStore& what, ValueMemory values) {
    Made made;
    if (what.storage == Storage::f32 && all_finite(values.values())) {
        made.memory = std::move(values);
        made.bytes = std::as_bytes(std::as_const(made.memory).values());
        return made;
    }
    const index_t num_bytes = storage_bytes(what.storage, std::ssize(values.values()));
    made.memory = ValueMemory(ceil_div(num_bytes, index_t{sizeof(float)}));
    const std::span<std::byte> bytes =
        std::as_writable_bytes(made.memory.values()).first(static_cast<std::size_t>(num_bytes));
    encode(what.storage, values.values(), bytes);
    made.bytes = bytes;
    return made;
}

Made make(const CheckpointReader& reader, const TensorToStore& what) {
    ValueMemory values(what.tensor->shape.num_elements());
    read_foreign(*what.tensor, reader, values.values());
    Made made;
    try {
        made = encoded(what, std::move(values));
    } catch (const IoError& error) {
        throw IoError(concat("export: ", what.tensor->name, ": ", error.what()));
    }
    Sha256 digest;
    digest.add(made.bytes);
    made.sha256 = digest.finish();
    return made;
}

}  // namespace

void for_each_stored(const CheckpointReader& reader, std::span<const TensorToStore> tensors,
                     const std::function<void(std::size_t, const StoredTensor&)>& use) {
    make_ahead<Made>(
        tensors.size(), all_processors_ahead(), [&](std::size_t i) { return bytes_of(tensors[i]); },
        [&](std::size_t i) { return make(reader, tensors[i]); },
        [&](std::size_t i, const Made& made) {
            use(i, {made.bytes, made.sha256});
        });
}

}  // namespace sy::runtime
