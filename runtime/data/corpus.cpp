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
            file_starts_.push_back(num_bytes() + files_.back().num_bytes());
        } catch (const IoError& error) {
            problems += concat(problems.empty() ? "" : "\n", "data.path: ", error.what());
        }
    }
    if (!problems.empty() && paths.find(',') != std::string::npos)
        problems +=
            "\ndata.path: commas join files; one whose name has a comma cannot be given, so rename or link "
            "it";
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
    constexpr index_t kPieceBytes = index_t{4} << 20;
    std::vector<index_t> counts(256, 0);
    std::vector<std::byte> piece;
    for (index_t position = 0; position < validation_start_ && !stop_wanted(); position += kPieceBytes) {
        piece.resize(static_cast<std::size_t>(std::min(kPieceBytes, validation_start_ - position)));
        read(position, piece);
        for (const std::byte byte : piece) ++counts[std::to_integer<std::size_t>(byte)];
    }
    return counts;
}

std::vector<index_t> Corpus::file_bytes() const {
    std::vector<index_t> bytes;
    for (const TextFile& file : files_) bytes.push_back(file.num_bytes());
    return bytes;
}

void Corpus::read(index_t position, std::span<std::byte> bytes) const {
    const auto after = std::upper_bound(file_starts_.begin(), file_starts_.end(), position);
    for (auto file = static_cast<std::size_t>(after - file_starts_.begin()) - 1; !bytes.empty(); ++file) {
        const index_t left = file_starts_[file + 1] - position;
        const std::span<std::byte> piece =
            bytes.first(std::min(bytes.size(), static_cast<std::size_t>(left)));
        files_[file].read(position - file_starts_[file], piece);
        bytes = bytes.subspan(piece.size());
        position = file_starts_[file + 1];
    }
}

void Corpus::append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const {
    const index_t windows = num_windows(split);
    SY_REQUIRE(windows > 0 && sample_idx >= 0, "corpus: sample ", sample_idx, " of ",
               split == Split::train ? "training" : "validation", ", which has ", windows, " windows");
    index_t window = sample_idx % windows;
    if (split == Split::train)
        window = permute_index(window, windows, seed_, static_cast<std::uint64_t>(sample_idx / windows));
    std::vector<std::byte> bytes(static_cast<std::size_t>(seq_len_ + 1));
    read((split == Split::train ? 0 : validation_start_) + window * seq_len_, bytes);
    for (const std::byte byte : bytes) ids.push_back(std::to_integer<std::int32_t>(byte));
}

}  // namespace sy::runtime
