#include "runtime/data/corpus.hpp"

#include <filesystem>
#include <fstream>

#include "kernels/core/philox.hpp"

namespace sy::runtime {

index_t permute_index(index_t index, index_t size, std::uint64_t seed, std::uint64_t epoch) {
    int half_bits = 1;
    while ((index_t{1} << (2 * half_bits)) < size) ++half_bits;
    const std::uint32_t mask = (std::uint32_t{1} << half_bits) - 1;
    auto value = static_cast<std::uint64_t>(index);
    do {
        auto left = static_cast<std::uint32_t>(value >> half_bits);
        auto right = static_cast<std::uint32_t>(value) & mask;
        for (std::uint32_t round = 0; round < 6; ++round) {
            const std::uint32_t mixed =
                left ^ (philox({seed, epoch, round, RandomPurpose::data_order}, right)[0] & mask);
            left = right;
            right = mixed;
        }
        value = (static_cast<std::uint64_t>(left) << half_bits) | right;
    } while (value >= static_cast<std::uint64_t>(size));
    return static_cast<index_t>(value);
}

Corpus::Corpus(const std::string& path, index_t seq_len, double validation_fraction, std::uint64_t seed)
    : seq_len_(seq_len), seed_(seed) {
    if (path.empty())
        throw ConfigError("data.path is not set; name a text file, for example --set data.path=book.txt");
    if (!std::filesystem::is_regular_file(path))
        throw IoError(concat("data.path = ", path, " is not a file that can be read"));
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (!file.eof() && file.fail()) throw IoError(concat("data.path = ", path, ": reading failed"));
    const index_t size = num_bytes();
    validation_start_ = size - static_cast<index_t>(static_cast<double>(size) * validation_fraction);
    train_windows_ = (validation_start_ - 1) / seq_len;
    validation_windows_ = (size - validation_start_ - 1) / seq_len;
    if (train_windows_ < 1 || (validation_fraction > 0.0 && validation_windows_ < 1)) {
        throw IoError(concat("data.path = ", path, " has ", size, " bytes; model.seq_len = ", seq_len,
                             " needs at least ", seq_len + 1,
                             " in each of training and validation (validation has ", size - validation_start_,
                             ")"));
    }
}

void Corpus::append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const {
    const index_t windows = num_windows(split);
    SY_REQUIRE(windows > 0, "corpus: the ", split == Split::train ? "training" : "validation",
               " split is empty");
    index_t window = sample_idx % windows;
    if (split == Split::train)
        window = permute_index(window, windows, seed_, static_cast<std::uint64_t>(sample_idx / windows));
    const index_t first = (split == Split::train ? 0 : validation_start_) + window * seq_len_;
    for (index_t i = first; i <= first + seq_len_; ++i) ids.push_back(bytes_[static_cast<std::size_t>(i)]);
}

}  // namespace sy::runtime
