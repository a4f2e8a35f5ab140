#include "runtime/checkpoint/output_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/checkpoint/files.hpp"

namespace sy::runtime::detail {
namespace {

/// A flush of less costs more than the disk's speed, and more leaves the disk idle while the next part is written.
constexpr index_t kBehindBytes = index_t{64} << 20;
constexpr int kMostBehind = 2;

[[noreturn]] void fail(const char* call, const std::filesystem::path& path, int reason) {
    throw IoError(concat(call, " of ", path.string(), " failed: ", std::strerror(reason)));
}

/// @pre  there are some
bool is_zero(std::span<const std::byte> bytes) {
    return bytes[0] == std::byte{0} && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

OutputFile::OutputFile(std::filesystem::path path, Mode mode)
    : path_(std::move(path)),
      descriptor_(
          ::open(path_.c_str(), O_WRONLY | O_CLOEXEC | (mode == Mode::create ? O_CREAT | O_EXCL : 0), 0666)) {
    if (descriptor_ < 0) fail("open", path_, errno);
}

OutputFile::~OutputFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
}

void OutputFile::resize(index_t bytes) {
    if (::ftruncate(descriptor_, bytes) != 0) fail("ftruncate", path_, errno);
}

void OutputFile::write(index_t offset, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::pwrite(descriptor_, bytes.data(), bytes.size(), offset);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) fail("pwrite", path_, errno);
        if (count == 0) fail("pwrite", path_, ENOSPC);
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += count;
    }
}

void OutputFile::flush() {
    if (::fsync(descriptor_) != 0) fail("fsync", path_, errno);
}

void OutputFile::close() {
    if (::close(std::exchange(descriptor_, -1)) != 0) fail("close", path_, errno);
}

NewFile::NewFile(const std::filesystem::path& path) : path_(path), file_(path, OutputFile::Mode::create) {
    block_.reserve(static_cast<std::size_t>(kBlockBytes));
}

void NewFile::append(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        constexpr auto kWhole = static_cast<std::size_t>(kBlockBytes);
        if (block_.empty() && bytes.size() >= kWhole) {
            write_block(bytes.first(kWhole));
            bytes = bytes.subspan(kWhole);
            continue;
        }
        const std::size_t count = std::min(bytes.size(), kWhole - block_.size());
        block_.insert(block_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
        bytes = bytes.subspan(count);
        if (block_.size() < kWhole) continue;
        write_block(block_);
        block_.clear();
    }
}

void NewFile::append_zeros(index_t bytes) {
    for (index_t count = 0; bytes > 0; bytes -= count) {
        count = std::min(bytes, kBlockBytes - std::ssize(block_));
        block_.resize(block_.size() + static_cast<std::size_t>(count));
        if (std::ssize(block_) < kBlockBytes) continue;
        write_block(block_);
        block_.clear();
    }
}

void NewFile::write_block(std::span<const std::byte> bytes) {
    const bool is_zero = !write_parts(bytes);
    const index_t number = written_.bytes.end / kBlockBytes;
    written_.blocks.push_back({block_checksum(bytes, number), is_zero});
    checksum_ += written_.blocks.back().checksum;
    written_.bytes.end += std::ssize(bytes);
    if (written_.bytes.size() >= kBehindBytes) read_back_behind();
}

bool NewFile::write_parts(std::span<const std::byte> bytes) {
    constexpr std::size_t kPartBytes = std::size_t{64} << 10;
    const index_t begin = written_.bytes.end;
    std::size_t written = 0;  // or left out
    bool is_any_written = false;
    for (std::size_t end = 0; end < bytes.size();) {
        const std::span<const std::byte> part = bytes.subspan(end, std::min(kPartBytes, bytes.size() - end));
        ends_in_hole_ = is_zero(part);
        if (ends_in_hole_) {
            is_any_written |= written < end;
            file_.write(begin + static_cast<index_t>(written), bytes.subspan(written, end - written));
            written = end + part.size();
        }
        end += part.size();
    }
    file_.write(begin + static_cast<index_t>(written), bytes.subspan(written));
    return is_any_written || written < bytes.size();
}

void NewFile::read_back_behind() {
    if (!behind_) behind_.emplace(1);
    if (num_behind_ == kMostBehind) {
        behind_->take();
        --num_behind_;
    }
    const index_t end = written_.bytes.end;
    if (ends_in_hole_) file_.resize(end);
    behind_->give([this, written = std::exchange(written_, {{end, end}, {}})] {
        file_.flush();
        read_back(RegularFile(path_), written);
    });
    ++num_behind_;
}

void NewFile::read_back(const RegularFile& file, const Written& written) const {
    file.forget_cached(written.bytes);
    std::vector<std::byte> memory(static_cast<std::size_t>(std::min(kBlockBytes, written.bytes.size())));
    index_t begin = written.bytes.begin;
    for (const auto& [checksum, is_zero] : written.blocks) {
        const Range place{begin, std::min(begin + kBlockBytes, written.bytes.end)};
        begin = place.end;
        if (is_zero && file.is_hole(place)) continue;
        const std::span<std::byte> block = std::span(memory).first(static_cast<std::size_t>(place.size()));
        file.read_stored(place.begin, block);
        if (block_checksum(block, place.begin / kBlockBytes) != checksum)
            throw IoError(concat(path_.string(),
                                 " reads back from the disk with other bytes than were written; ",
                                 "look for errors of the disk in the system's log"));
    }
}

FileRecord NewFile::finish() {
    if (!block_.empty()) write_block(block_);
    for (; num_behind_ > 0; --num_behind_) behind_->take();
    const index_t bytes = written_.bytes.end;
    if (ends_in_hole_) file_.resize(bytes);
    file_.flush();
    file_.close();
    const RegularFile file(path_);
    if (file.bytes() != bytes)
        throw IoError(
            concat(path_.string(), ": ", bytes, " bytes were written, the disk holds ", file.bytes()));
    read_back(file, written_);
    return {path_.filename().string(), bytes, checksum_};
}

}  // namespace sy::runtime::detail
