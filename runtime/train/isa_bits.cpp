#include "runtime/train/isa_bits.hpp"

#include <algorithm>

#include "comm/collectives.hpp"
#include "kernels/core/isa.hpp"

namespace sy::runtime {
namespace {

bool is_gpu(const std::string& name) {
    return name.starts_with("sm_");
}

/// Those of processors in ascending order, then all others.
std::size_t place_of(const std::string& name) {
    return static_cast<std::size_t>(std::ranges::find(kIsas, name, isa_name) - kIsas.begin());
}

/// Instruction sets that round products of bf16 alike have the same.
std::string rounding_of(const std::string& name) {
    const std::size_t place = place_of(name);
    return place < kIsas.size() && kIsas[place] <= Isa::avx512 ? "generic" : name;
}

/// Whether a run promises bits that the two do not share.
bool differ(const Config& config, const std::string& one, const std::string& other) {
    const bool shows = config.model.dtype == DType::bf16 || is_gpu(one);
    return config.numerics == NumericsMode::reproducible && shows && rounding_of(one) != rounding_of(other);
}

}  // namespace

void check_isa_of_ranks(const Config& config, const std::string& mine, comm::Communicator& world) {
    const std::vector<std::string> all = comm::all_gather(world, mine);
    const auto before = [](const std::string& one, const std::string& other) {
        return std::pair(place_of(one), one) < std::pair(place_of(other), other);
    };
    const auto [low, high] = std::minmax_element(all.begin(), all.end(), before);
    if (!differ(config, *low, *high)) return;
    const bool gpus = is_gpu(*low);
    throw ConfigError(concat("numerics.mode = reproducible", gpus ? "" : " with model.dtype = bf16",
                             ": some ranks use ", *high, ", others ", *low, ", which ",
                             gpus ? "compute exponentials" : "round products of bf16", " differently; ",
                             gpus ? std::string("take GPUs of one kind")
                                  : concat("set ", kIsaVariable, "=", *low, " on all ranks")));
}

std::vector<std::string> isa_notes(const Config& config, const std::string& checkpoint_isa,
                                   const std::string& mine) {
    if (checkpoint_isa.empty() || is_gpu(checkpoint_isa) != is_gpu(mine) ||
        !differ(config, checkpoint_isa, mine))
        return {};
    return {concat("the checkpoint was written under ", checkpoint_isa, ", this run uses ", mine, ", which ",
                   is_gpu(mine) ? "computes exponentials" : "rounds products of bf16",
                   " differently: from here on the bits are not those of a run that was not interrupted")};
}

}  // namespace sy::runtime
