#include "runtime/data/corpus.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "kernels/core/decimal.hpp"
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

Corpus::Corpus(const std::string& paths, index_t seq_len, double validation_fraction, std::uint64_t seed)
    : seq_len_(seq_len), seed_(seed) {
    if (paths.empty())
        throw ConfigError("data.path is not set; name a text file, for example --set data.path=book.txt");
    std::string problems;
    std::istringstream list(paths);
    for (std::string path; std::getline(list, path, ',');) {
        try {
            files_.emplace_back(path);
            file_starts_.push_back(num_bytes() + static_cast<index_t>(files_.back().bytes().size()));
        } catch (const IoError& error) {
            problems += concat(problems.empty() ? "" : "\n", "data.path: ", error.what());
        }
    }
    if (!problems.empty()) throw IoError(problems);
    const index_t size = num_bytes();
    validation_start_ = size - decimal_floor(validation_fraction, size);
    train_windows_ = (validation_start_ - 1) / seq_len;
    validation_windows_ = (size - validation_start_ - 1) / seq_len;
    check_length(paths, validation_fraction);
}

void Corpus::check_length(const std::string& paths, double validation_fraction) const {
    const bool validates = validation_fraction > 0.0;
    if (train_windows_ >= 1 && (!validates || validation_windows_ >= 1)) return;
    const double smaller = validates ? std::fmin(validation_fraction, 1.0 - validation_fraction) : 1.0;
    const auto least = static_cast<index_t>(std::ceil(static_cast<double>(seq_len_ + 1) / smaller));
    throw IoError(concat("data.path = ", paths, ": its ", num_bytes(), " bytes are ", validation_start_,
                         " for training and ", num_bytes() - validation_start_,
                         " for validation (data.validation_fraction = ", validation_fraction,
                         "), but model.seq_len = ", seq_len_, " needs at least ", seq_len_ + 1,
                         validates ? " in each" : " for training", "; give about ", least,
                         " bytes of text, or lower model.seq_len"));
}

std::vector<index_t> Corpus::count_bytes(const std::function<bool()>& stop_wanted) const {
    constexpr std::size_t kPieceBytes = std::size_t{16} << 20;
    std::vector<index_t> counts(256, 0);
    for (std::size_t file = 0; file < files_.size() && file_starts_[file] < validation_start_; ++file) {
        const index_t stop = std::min(file_starts_[file + 1], validation_start_);
        std::span<const std::byte> left =
            files_[file].bytes().first(static_cast<std::size_t>(stop - file_starts_[file]));
        while (!left.empty()) {
            if (stop_wanted()) return counts;
            const std::span<const std::byte> piece = left.first(std::min(left.size(), kPieceBytes));
            for (const std::byte byte : piece) ++counts[std::to_integer<std::size_t>(byte)];
            left = left.subspan(piece.size());
        }
    }
    return counts;
}

void Corpus::append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const {
    const index_t windows = num_windows(split);
    SY_REQUIRE(windows > 0 && sample_idx >= 0, "corpus: sample ", sample_idx, " of ",
               split == Split::train ? "training" : "validation", ", which has ", windows, " windows");
    index_t window = sample_idx % windows;
    if (split == Split::train)
        window = permute_index(window, windows, seed_, static_cast<std::uint64_t>(sample_idx / windows));
    index_t position = (split == Split::train ? 0 : validation_start_) + window * seq_len_;
    const index_t end = position + seq_len_ + 1;
    const auto after = std::upper_bound(file_starts_.begin(), file_starts_.end(), position);
    for (auto file = static_cast<std::size_t>(after - file_starts_.begin()) - 1; position < end; ++file) {
        const std::span<const std::byte> bytes = files_[file].bytes();
        const index_t stop = std::min(end, file_starts_[file + 1]);
        for (; position < stop; ++position)
            ids.push_back(std::to_integer<std::int32_t>(
                bytes[static_cast<std::size_t>(position - file_starts_[file])]));
    }
}

}  // namespace sy::runtime
