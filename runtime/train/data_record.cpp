#include "runtime/train/data_record.hpp"

#include <xxhash.h>

#include <algorithm>
#include <numeric>

#include "comm/collectives.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kBlockBytes = index_t{4} << 20;
/// Blocks that a rank reads before it hears of the others, in time for any deadline.
constexpr index_t kBlocksOfTurn = 16;

/// The sum mod 2^64 over blocks of 4 MiB of XXH3-64(block, seed = its number), whoever has read which.
std::optional<std::uint64_t> text_checksum(const DataFiles& files, comm::Communicator& world,
                                           const std::function<bool()>& stop_wanted) {
    const std::vector<index_t> file_bytes = files.file_bytes();
    const index_t num_bytes = std::accumulate(file_bytes.begin(), file_bytes.end(), index_t{0});
    const index_t num_blocks = ceil_div(num_bytes, kBlockBytes);
    const index_t blocks_of_turn = kBlocksOfTurn * world.size();
    std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlockBytes, num_bytes)));
    std::uint64_t sum = 0;
    for (index_t turn = 0; turn < num_blocks; turn += blocks_of_turn) {
        if (turn > 0) {
            std::int32_t stop = stop_wanted() ? 1 : 0;
            comm::all_reduce(world, std::span(&stop, 1), comm::ReduceOp::max);
            if (stop != 0) return std::nullopt;
        }
        const index_t end = std::min(num_blocks, turn + blocks_of_turn);
        for (index_t number = turn + world.rank(); number < end; number += world.size()) {
            const index_t position = number * kBlockBytes;
            const std::span<std::byte> bytes =
                std::span(block).first(static_cast<std::size_t>(std::min(kBlockBytes, num_bytes - position)));
            files.read_text(position, bytes);
            sum += XXH3_64bits_withSeed(bytes.data(), bytes.size(), static_cast<std::uint64_t>(number));
        }
    }
    comm::all_reduce(world, std::span(&sum, 1), comm::ReduceOp::sum);
    return sum;
}

std::uint64_t token_files_checksum(const DataFiles& files) {
    std::uint64_t sum = 0;
    std::uint64_t number = 0;
    for (const std::uint64_t checksum : files.token_file_checksums())
        sum += XXH3_64bits_withSeed(&checksum, sizeof(checksum), number++);
    return sum;
}

/// @throws IoError on all ranks when some rank has read another tokenizer: a file may differ from node to node
void check_same_tokenizer(const std::string& identity, comm::Communicator& world) {
    const std::uint64_t mine[] = {XXH3_64bits(identity.data(), identity.size())};
    for (const std::uint64_t hash : comm::all_gather(world, std::span<const std::uint64_t>(mine))) {
        if (hash != mine[0])
            throw IoError(concat("data.tokenizer: ranks have read different files; this one's is '", identity,
                                 "'; give all nodes the same file"));
    }
}

}  // namespace

std::optional<DataRecord> record_data(const Config& config, const Corpus& corpus, comm::Communicator& world,
                                      const std::function<bool()>& stop_wanted) {
    const DataFiles& files = corpus.files();
    const std::string identity = corpus.tokenizer().identity();
    check_same_tokenizer(identity, world);
    const std::optional<std::uint64_t> checksum = files.has_texts()
                                                      ? text_checksum(files, world, stop_wanted)
                                                      : std::optional(token_files_checksum(files));
    if (!checksum) return std::nullopt;
    return DataRecord{config.data.path, files.file_bytes(),       *checksum,
                      identity,         config.model.seq_len + 1, config.data.validation_fraction,
                      corpus.weights()};
}

}  // namespace sy::runtime
