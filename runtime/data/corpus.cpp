#include "runtime/data/corpus.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/core/decimal.hpp"
#include "kernels/core/philox.hpp"
#include "runtime/data/mixture.hpp"
#include "runtime/data/open_tokenizer.hpp"

namespace sy::runtime {
namespace {

std::vector<std::string> paths_of(const std::vector<WeightedPath>& files) {
    std::vector<std::string> paths;
    for (const WeightedPath& file : files) paths.push_back(file.path);
    return paths;
}

}  // namespace

index_t permute_index(index_t index, index_t size, std::uint64_t seed, std::uint64_t epoch,
                      std::size_t source) {
    constexpr std::uint32_t kRounds = 6;
    const std::uint32_t first_round = kRounds * static_cast<std::uint32_t>(source);
    int half_bits = 1;
    while ((index_t{1} << (2 * half_bits)) < size) ++half_bits;
    const std::uint32_t mask = (std::uint32_t{1} << half_bits) - 1;
    auto value = static_cast<std::uint64_t>(index);
    do {
        auto left = static_cast<std::uint32_t>(value >> half_bits);
        auto right = static_cast<std::uint32_t>(value) & mask;
        for (std::uint32_t round = first_round; round < first_round + kRounds; ++round) {
            const std::uint32_t mixed =
                left ^ (philox({seed, epoch, round, RandomPurpose::data_order}, right)[0] & mask);
            left = right;
            right = mixed;
        }
        value = (static_cast<std::uint64_t>(left) << half_bits) | right;
    } while (value >= static_cast<std::uint64_t>(size));
    return static_cast<index_t>(value);
}

Corpus::Corpus(const Config& config, int num_threads)
    : Corpus(config, parse_data_path(config.data.path), num_threads) {}

Corpus::Corpus(const Config& config, const std::vector<WeightedPath>& paths, int num_threads)
    : tokenizer_(open_tokenizer(config)),
      files_(paths_of(paths), *tokenizer_, num_threads),
      seq_len_(config.model.seq_len),
      seed_(config.train.seed) {
    const auto num_files = static_cast<index_t>(paths.size());
    if (paths.front().weight == 0) {
        add_source(config, config.data.path, {0, num_files});
        return;
    }
    for (index_t file = 0; file < num_files; ++file) {
        const WeightedPath& path = paths[static_cast<std::size_t>(file)];
        weights_.push_back(path.weight);
        add_source(config, path.path, {file, file + 1});
    }
}

void Corpus::add_source(const Config& config, const std::string& paths, Range files) {
    Source source;
    source.first_file = static_cast<std::size_t>(files.begin);
    for (index_t file = files.begin; file < files.end; ++file)
        source.file_starts.push_back(source.num_tokens() + files_.num_tokens(static_cast<std::size_t>(file)));
    const index_t size = source.num_tokens();
    source.validation_start = size - decimal_floor(config.data.validation_fraction, size);
    source.train_windows = std::max<index_t>(0, (source.validation_start - 1) / seq_len_);
    source.validation_windows = std::max<index_t>(0, (size - source.validation_start - 1) / seq_len_);
    check_length(config, paths, source);
    sources_.push_back(std::move(source));
}

void Corpus::check_length(const Config& config, const std::string& paths, const Source& source) const {
    const double validation_fraction = config.data.validation_fraction;
    const bool validates = validation_fraction > 0.0;
    if (source.train_windows >= 1 && (!validates || source.validation_windows >= 1)) return;
    const double smaller = validates ? std::fmin(validation_fraction, 1.0 - validation_fraction) : 1.0;
    const auto least = static_cast<index_t>(std::ceil(static_cast<double>(seq_len_ + 1) / smaller));
    const char* const unit = tokenizer_->identity() == "bytes" ? " bytes" : " tokens";
    throw IoError(concat("data.path = ", paths, ": its ", source.num_tokens(), unit, " are ",
                         source.validation_start, " for training and ",
                         source.num_tokens() - source.validation_start,
                         " for validation (data.validation_fraction = ", validation_fraction,
                         "), but model.seq_len = ", seq_len_, " needs at least ", seq_len_ + 1,
                         validates ? " in each" : " for training", "; give about ", least, unit,
                         " of text, or lower model.seq_len"));
}

index_t Corpus::num_windows(Split split) const {
    index_t windows = 0;
    for (const Source& source : sources_) windows += source.num_windows(split);
    return windows;
}

std::vector<index_t> Corpus::count_tokens(const std::function<bool()>& stop_wanted) const {
    std::vector<index_t> counts(static_cast<std::size_t>(tokenizer_->vocab_size()), 0);
    if (weights_.empty()) {
        count_source(0, stop_wanted, counts);
        return counts;
    }
    for (std::size_t i = 0; i < sources_.size(); ++i) {
        std::vector<index_t> own(counts.size(), 0);
        count_source(i, stop_wanted, own);
        // Shares of 2^40: fine enough for the rarest token, and far from overflow.
        const double scale =
            std::ldexp(static_cast<double>(weights_[i]), 40) /
            static_cast<double>(std::accumulate(weights_.begin(), weights_.end(), index_t{0})) /
            static_cast<double>(sources_[i].validation_start);
        for (std::size_t id = 0; id < counts.size(); ++id)
            counts[id] += std::llround(static_cast<double>(own[id]) * scale);
    }
    return counts;
}

void Corpus::count_source(std::size_t source_idx, const std::function<bool()>& stop_wanted,
                          std::vector<index_t>& counts) const {
    constexpr index_t kPieceTokens = index_t{1} << 20;
    const Source& source = sources_[source_idx];
    std::vector<std::int32_t> piece;
    for (index_t position = 0; position < source.validation_start && !stop_wanted();
         position += kPieceTokens) {
        piece.resize(static_cast<std::size_t>(std::min(kPieceTokens, source.validation_start - position)));
        read(source, position, piece);
        for (const std::int32_t id : piece) ++counts[static_cast<std::size_t>(id)];
    }
}

void Corpus::read(const Source& source, index_t position, std::span<std::int32_t> ids) const {
    const auto after = std::upper_bound(source.file_starts.begin(), source.file_starts.end(), position);
    for (auto file = static_cast<std::size_t>(after - source.file_starts.begin()) - 1; !ids.empty(); ++file) {
        const index_t left = source.file_starts[file + 1] - position;
        const std::span<std::int32_t> piece = ids.first(std::min(ids.size(), static_cast<std::size_t>(left)));
        files_.read(source.first_file + file, position - source.file_starts[file], piece);
        ids = ids.subspan(piece.size());
        position = source.file_starts[file + 1];
    }
}

Corpus::Window Corpus::find_window(Split split, index_t sample_idx) const {
    SY_REQUIRE(num_windows(split) > 0 && sample_idx >= 0, "corpus: sample ", sample_idx, " of ",
               split == Split::train ? "training" : "validation", ", which has ", num_windows(split),
               " windows");
    const SourceSample sample =
        weights_.empty() ? SourceSample{0, sample_idx} : mixture_sample(weights_, sample_idx);
    const Source& source = sources_[sample.source];
    const index_t windows = source.num_windows(split);
    index_t window = sample.sample_idx % windows;
    if (split == Split::train) {
        const auto epoch = static_cast<std::uint64_t>(sample.sample_idx / windows);
        window = permute_index(window, windows, seed_, epoch, sample.source);
    }
    return {source, (split == Split::train ? 0 : source.validation_start) + window * seq_len_};
}

void Corpus::append(Split split, index_t sample_idx, std::vector<std::int32_t>& ids) const {
    const Window window = find_window(split, sample_idx);
    const std::size_t begin = ids.size();
    ids.resize(begin + static_cast<std::size_t>(seq_len_ + 1));
    read(window.source, window.position, std::span(ids).subspan(begin));
}

void Corpus::append_document_begins(Split split, index_t sample_idx, std::vector<index_t>& begins) const {
    const Window window = find_window(split, sample_idx);
    const std::size_t first_row = begins.size();
    begins.resize(first_row + static_cast<std::size_t>(seq_len_), 0);
    const std::span<index_t> rows = std::span(begins).subspan(first_row);
    const std::vector<index_t>& file_starts = window.source.file_starts;
    for (std::size_t file = 0; file + 1 < file_starts.size(); ++file) {
        const index_t file_start = file_starts[file];
        const Range positions{std::max(window.position, file_start) - file_start,
                              std::min(window.position + seq_len_, file_starts[file + 1]) - file_start};
        if (positions.begin >= positions.end) continue;
        for (const index_t start : files_.document_starts(window.source.first_file + file, positions)) {
            const index_t row = file_start + start - window.position;
            std::ranges::fill(rows.subspan(static_cast<std::size_t>(row)), row);
        }
    }
}

}  // namespace sy::runtime
