#include "runtime/train/data_record.hpp"

#include <xxhash.h>

#include <algorithm>

#include "comm/collectives.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kBlockBytes = index_t{4} << 20;
/// Blocks that a rank reads before it hears of the others, in time for any deadline.
constexpr index_t kBlocksOfTurn = 16;

/// The sum mod 2^64 over blocks of 4 MiB of XXH3-64(block, seed = its number), whoever has read which.
std::optional<std::uint64_t> text_checksum(const Corpus& corpus, comm::Communicator& world,
                                           const std::function<bool()>& stop_wanted) {
    const index_t num_blocks = ceil_div(corpus.num_bytes(), kBlockBytes);
    const index_t blocks_of_turn = kBlocksOfTurn * world.size();
    std::vector<std::byte> block(static_cast<std::size_t>(std::min(kBlockBytes, corpus.num_bytes())));
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
            const std::span<std::byte> bytes = std::span(block).first(
                static_cast<std::size_t>(std::min(kBlockBytes, corpus.num_bytes() - position)));
            corpus.read(position, bytes);
            sum += XXH3_64bits_withSeed(bytes.data(), bytes.size(), static_cast<std::uint64_t>(number));
        }
    }
    comm::all_reduce(world, std::span(&sum, 1), comm::ReduceOp::sum);
    return sum;
}

}  // namespace

std::optional<DataRecord> record_data(const Config& config, const Corpus& corpus, comm::Communicator& world,
                                      const std::function<bool()>& stop_wanted) {
    const std::optional<std::uint64_t> checksum = text_checksum(corpus, world, stop_wanted);
    if (!checksum) return std::nullopt;
    return DataRecord{config.data.path,      corpus.file_bytes(),      *checksum,
                      config.data.tokenizer, config.model.seq_len + 1, config.data.validation_fraction};
}

}  // namespace sy::runtime
