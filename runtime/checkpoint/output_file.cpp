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

void NewFile::write_block(std::span<const std::byte> block) {
    write_parts(block);
    checksum_ += block_checksum(block, num_blocks_);
    bytes_ += static_cast<index_t>(block.size());
    ++num_blocks_;
}

void NewFile::write_parts(std::span<const std::byte> block) {
    constexpr std::size_t kPartBytes = std::size_t{64} << 10;
    std::size_t written = 0;  // or left out
    for (std::size_t end = 0; end < block.size();) {
        const std::span<const std::byte> part = block.subspan(end, std::min(kPartBytes, block.size() - end));
        ends_in_hole_ = is_zero(part);
        if (ends_in_hole_) {
            file_.write(bytes_ + static_cast<index_t>(written), block.subspan(written, end - written));
            written = end + part.size();
        }
        end += part.size();
    }
    file_.write(bytes_ + static_cast<index_t>(written), block.subspan(written));
}

FileRecord NewFile::finish() {
    if (!block_.empty()) write_block(block_);
    if (ends_in_hole_) file_.resize(bytes_);
    file_.flush();
    file_.close();
    const RegularFile file(path_);
    file.forget_cached();
    if (file.bytes() != bytes_)
        throw IoError(
            concat(path_.string(), ": ", bytes_, " bytes were written, the disk holds ", file.bytes()));
    if (file_checksum(file) != checksum_)
        throw IoError(concat(path_.string(), " reads back from the disk with other bytes than were written; ",
                             "look for errors of the disk in the system's log"));
    return {path_.filename().string(), bytes_, checksum_};
}

}  // namespace sy::runtime::detail
