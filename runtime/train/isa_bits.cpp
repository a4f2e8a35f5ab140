#include "runtime/train/isa_bits.hpp"

#include <algorithm>
#include <array>

#include "comm/collectives.hpp"

namespace sy::runtime {
namespace {

bool promises_bits_of_bf16(const Config& config) {
    return config.numerics == NumericsMode::reproducible && config.model.dtype == DType::bf16;
}

/// Instruction sets that round products of bf16 alike have the same value.
Isa rounding_of_bf16(Isa isa) {
    return isa <= Isa::avx512 ? Isa::generic : isa;
}

}  // namespace

void check_isa_of_ranks(const Config& config, Isa mine, comm::Communicator& world) {
    if (!promises_bits_of_bf16(config)) return;
    const std::array own{static_cast<std::int32_t>(mine)};
    const std::vector<std::int32_t> all = comm::all_gather(world, std::span<const std::int32_t>(own));
    const auto [low, high] = std::minmax_element(all.begin(), all.end());
    const Isa lowest{*low};
    const Isa highest{*high};
    if (rounding_of_bf16(lowest) == rounding_of_bf16(highest)) return;
    throw ConfigError(concat("numerics.mode = reproducible with model.dtype = bf16: some ranks use ",
                             isa_name(highest), ", others ", isa_name(lowest),
                             ", which round products of bf16 differently; set ", kIsaVariable, "=",
                             isa_name(lowest), " on all ranks"));
}

std::vector<std::string> isa_notes(const Config& config, const std::string& checkpoint_isa, Isa mine) {
    if (!promises_bits_of_bf16(config) || checkpoint_isa.empty()) return {};
    const auto* const written = std::ranges::find(kIsas, checkpoint_isa, isa_name);
    if (written != kIsas.end() && rounding_of_bf16(*written) == rounding_of_bf16(mine)) return {};
    return {concat(
        "the checkpoint was written under ", checkpoint_isa, ", this run uses ", isa_name(mine),
        ", which rounds products of bf16 differently: from here on the bits are not those of a run that was "
        "not interrupted")};
}

}  // namespace sy::runtime
