#include "runtime/data/data_files.hpp"

#include <algorithm>
#include <numeric>

#include "kernels/core/ordered_work.hpp"
#include "runtime/data/text_pieces.hpp"

namespace sy::runtime {
namespace {

/// Whether it can be opened and begins as a token file does; what cannot be opened is told when it is opened as a text.
bool is_token_file(const std::string& path) {
    try {
        return TokenFile::is_token_file(path);
    } catch (const IoError&) {
        return false;
    }
}

/// The tokens of a text, which is cut where they are the same together and apart.
std::vector<std::int32_t> tokenize_text(const std::string& path, const Tokenizer& tokenizer,
                                        int num_threads) {
    std::vector<std::int32_t> ids;
    OrderedWork<std::vector<std::int32_t>> work(num_threads);
    const auto take = [&] {
        const std::vector<std::int32_t> more = work.take();
        ids.insert(ids.end(), more.begin(), more.end());
    };
    int num_ahead = 0;
    for (PieceReader reader(path, InputKind::text, {}); !reader.at_end();) {
        work.give([&tokenizer, text = reader.next(tokenizer).text] { return tokenizer.encode(text); });
        if (++num_ahead <= 4 * num_threads) continue;
        take();
        --num_ahead;
    }
    while (!work.empty()) take();
    return ids;
}

void throw_problems(const std::vector<std::string>& problems) {
    std::string text;
    for (const std::string& problem : problems)
        text += concat(text.empty() ? "" : "\n", "data.path: ", problem);
    if (!text.empty()) throw IoError(text);
}

}  // namespace

DataFiles::DataFiles(const std::vector<std::string>& paths, const Tokenizer& tokenizer, int num_threads) {
    std::vector<std::string> token_paths;
    std::vector<std::string> text_paths;
    for (const std::string& path : paths) (is_token_file(path) ? token_paths : text_paths).push_back(path);
    std::vector<std::string> problems;
    open_texts(text_paths, problems);
    open_token_files(token_paths, tokenizer, problems);
    if (!problems.empty() && paths.size() > 1)
        problems.emplace_back(
            "commas join files; one whose name has a comma cannot be given, so rename or link it");
    if (problems.empty() && !token_paths.empty() && !text_paths.empty())
        problems.push_back(concat(token_paths.front(), " holds tokens and ", text_paths.front(),
                                  " is a text; make token files of the texts with switchyard data tokenize"));
    throw_problems(problems);
    if (!texts_.empty() && tokenizer.identity() != "bytes") tokenize_texts(paths, tokenizer, num_threads);
}

void DataFiles::open_texts(const std::vector<std::string>& paths, std::vector<std::string>& problems) {
    for (const std::string& path : paths) {
        try {
            texts_.emplace_back(path);
            num_tokens_.push_back(texts_.back().num_bytes());
        } catch (const IoError& error) {
            problems.emplace_back(error.what());
        }
    }
}

void DataFiles::open_token_files(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                                 std::vector<std::string>& problems) {
    for (const std::string& path : paths) {
        try {
            token_files_.emplace_back(path);
            num_tokens_.push_back(token_files_.back().num_tokens());
            const std::string& made_by = token_files_.back().tokenizer();
            if (made_by != tokenizer.identity())
                problems.push_back(concat(path, " holds tokens of '", made_by, "', and data.tokenizer is '",
                                          tokenizer.identity(),
                                          "'; set data.tokenizer to the one that made the file"));
        } catch (const IoError& error) {
            problems.emplace_back(error.what());
        }
    }
}

void DataFiles::tokenize_texts(const std::vector<std::string>& paths, const Tokenizer& tokenizer,
                               int num_threads) {
    const std::vector<index_t> bytes = file_bytes();
    const index_t total = std::accumulate(bytes.begin(), bytes.end(), index_t{0});
    if (total > kMostTokenizedBytes)
        throw_problems({concat("texts of ", total, " bytes, from ", paths.front(), " on, are more than the ",
                               kMostTokenizedBytes,
                               " that are tokenized at the start of a run and held in memory; make token "
                               "files of them with switchyard data tokenize, once for all runs")});
    for (std::size_t file = 0; file < texts_.size(); ++file) {
        ids_.push_back(tokenize_text(paths[file], tokenizer, num_threads));
        num_tokens_[file] = std::ssize(ids_.back());
    }
}

void DataFiles::read(std::size_t file, index_t position, std::span<std::int32_t> ids) const {
    if (!token_files_.empty()) {
        token_files_[file].read(position, ids);
    } else if (!ids_.empty()) {
        std::ranges::copy(std::span(ids_[file]).subspan(static_cast<std::size_t>(position), ids.size()),
                          ids.begin());
    } else {
        std::vector<std::byte> bytes(ids.size());
        texts_[file].read(position, bytes);
        std::ranges::transform(bytes, ids.begin(),
                               [](std::byte byte) { return std::to_integer<std::int32_t>(byte); });
    }
}

std::vector<index_t> DataFiles::document_starts(std::size_t file, Range positions) const {
    if (!token_files_.empty()) return token_files_[file].document_starts(positions);
    return positions.begin == 0 && positions.end > 0 ? std::vector<index_t>{0} : std::vector<index_t>{};
}

std::vector<index_t> DataFiles::file_bytes() const {
    std::vector<index_t> bytes;
    for (const TextFile& text : texts_) bytes.push_back(text.num_bytes());
    for (const TokenFile& tokens : token_files_) bytes.push_back(tokens.num_bytes());
    return bytes;
}

std::vector<std::uint64_t> DataFiles::token_file_checksums() const {
    std::vector<std::uint64_t> checksums;
    for (const TokenFile& tokens : token_files_) checksums.push_back(tokens.checksum());
    return checksums;
}

void DataFiles::read_text(index_t position, std::span<std::byte> bytes) const {
    for (const TextFile& text : texts_) {
        if (bytes.empty()) return;
        const index_t size = text.num_bytes();
        if (position >= size) {
            position -= size;
            continue;
        }
        const std::span<std::byte> piece =
            bytes.first(std::min(bytes.size(), static_cast<std::size_t>(size - position)));
        text.read(position, piece);
        bytes = bytes.subspan(piece.size());
        position = 0;
    }
}

}  // namespace sy::runtime
