#include "runtime/interchange/stored_tensors.hpp"

#include <algorithm>
#include <thread>
#include <vector>

#include "runtime/data/ordered_work.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/sha256.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kAheadBytes = index_t{512} << 20;

struct Made {
    std::vector<std::byte> bytes;
    std::string sha256;
};

/// Memory that a tensor needs while it is made.
index_t bytes_of(const TensorToStore& what) {
    const index_t values = what.tensor->shape.num_elements();
    return values * index_t{sizeof(float)} + storage_bytes(what.storage, values);
}

Made make(const CheckpointReader& reader, const TensorToStore& what) {
    const index_t num_values = what.tensor->shape.num_elements();
    std::vector<float> values(static_cast<std::size_t>(num_values));
    read_foreign(*what.tensor, reader, values);
    Made made{std::vector<std::byte>(static_cast<std::size_t>(storage_bytes(what.storage, num_values))), {}};
    try {
        encode(what.storage, values, made.bytes);
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
    OrderedWork<Made> work(static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 16U)));
    std::size_t given = 0;
    index_t held_bytes = 0;  // of tensors that are being made or are ready
    for (std::size_t idx = 0; idx < tensors.size(); ++idx) {
        for (; given < tensors.size(); ++given) {
            const index_t bytes = bytes_of(tensors[given]);
            if (held_bytes > 0 && held_bytes + bytes > kAheadBytes) break;
            held_bytes += bytes;
            work.give([&reader, what = tensors[given]] { return make(reader, what); });
        }
        const Made made = work.take();
        use(idx, {made.bytes, made.sha256});
        held_bytes -= bytes_of(tensors[idx]);
    }
}

}  // namespace sy::runtime
