// A token file whose checksums are right, as someone who means harm would write it.
#include <cstring>

#include "kernels/core/error.hpp"
#include "runtime/data/token_file_format.hpp"
#include "tests/fuzz/scratch_file.hpp"
#include "tests/fuzz/target.hpp"

using namespace sy;
using namespace sy::runtime;
namespace format = sy::runtime::detail;  // sy has a detail of its own
using format::kHeaderBytes;

namespace {

/// Whether the counts are such that file_bytes() cannot overflow.
bool counts_are_small(const format::TokenFileHeader& header, index_t size) {
    const auto small = [size](index_t count) { return count >= 0 && count <= size; };
    return small(header.num_tokens) && header.num_tokens > 0 && small(header.num_documents) &&
           small(header.identity_bytes) && header.width <= 8;
}

/// Sets the checksums of a file whose counts fit its size, and otherwise that of its header alone.
void set_checksums(std::string& file) {
    format::TokenFileHeader header;
    std::memcpy(&header, file.data(), sizeof(header));
    const auto size = static_cast<index_t>(file.size());
    if (counts_are_small(header, size) && format::file_bytes(header) == size) {
        const std::span<std::byte> bytes = std::as_writable_bytes(std::span(file));
        std::vector<std::uint64_t> checksums;
        const index_t payload = format::payload_bytes(header);
        for (index_t begin = 0; begin < payload; begin += format::kTokenBlockBytes) {
            const index_t length = std::min(format::kTokenBlockBytes, payload - begin);
            checksums.push_back(
                format::token_block_checksum(bytes.subspan(static_cast<std::size_t>(kHeaderBytes + begin),
                                                           static_cast<std::size_t>(length)),
                                             begin / format::kTokenBlockBytes));
        }
        // Without blocks there is no address to copy from.
        if (!checksums.empty())
            std::memcpy(file.data() + kHeaderBytes + payload, checksums.data(),
                        checksums.size() * sizeof(checksums[0]));
        const std::string identity =
            file.substr(file.size() - static_cast<std::size_t>(header.identity_bytes));
        header.tail_xxh3 = format::tail_checksum(checksums, identity);
    }
    header.header_xxh3 = format::header_checksum(header);
    std::memcpy(file.data(), &header, sizeof(header));
}

/// A file with a right checksum of each block and of its header. One without tokens has no documents either.
std::string seed(index_t vocab_size, index_t num_tokens) {
    const index_t starts[] = {0, 2, 7};
    const std::size_t num_starts = num_tokens > 0 ? std::size(starts) : 0;
    format::TokenFileHeader header;
    header.width = format::token_width(vocab_size);
    header.vocab_size = vocab_size;
    header.num_tokens = num_tokens;
    header.num_documents = static_cast<index_t>(num_starts);
    header.end_of_text = 2;
    header.identity_bytes = 5;
    std::string file(static_cast<std::size_t>(format::file_bytes(header)), '\0');
    std::memcpy(file.data(), &header, sizeof(header));
    const std::size_t starts_bytes = num_starts * sizeof(starts[0]);
    std::memcpy(file.data() + kHeaderBytes + format::payload_bytes(header) - starts_bytes, starts,
                starts_bytes);
    set_checksums(file);
    return file;
}

}  // namespace

std::vector<std::string> fuzz_seeds() {
    return {seed(300, 9), seed(100000, 10), seed(300, 40000), seed(300, 0)};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const ScratchFolder folder;
    std::string file(reinterpret_cast<const char*>(data), size);
    if (static_cast<index_t>(file.size()) >= kHeaderBytes) set_checksums(file);
    const std::string path = folder.file("input.tok", file);
    try {
        const TokenFile tokens(path);
        std::vector<std::int32_t> ids(static_cast<std::size_t>(std::min<index_t>(tokens.num_tokens(), 100)));
        for (const index_t position : {index_t{0}, tokens.num_tokens() - static_cast<index_t>(ids.size())}) {
            tokens.read(position, ids);
            for (const std::int32_t id : ids)
                SY_REQUIRE(id >= 0 && id < tokens.vocab_size(), "the id ", id, " came out of a file");
        }
        const std::vector<index_t> starts = tokens.document_starts({1, tokens.num_tokens()});
        SY_REQUIRE(static_cast<index_t>(starts.size()) < tokens.num_tokens(), "too many documents");
        tokens.verify();
    } catch (const IoError&) {
    }
    return 0;
}
