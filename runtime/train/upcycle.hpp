#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/parameters/parameters.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/config/config.hpp"

namespace sy::runtime {

/// Where the values of a tensor of the mixture come from.
struct UpcycleSource {
    enum class Kind {
        copied,  ///< as it is
        spread,  ///< a dense feed-forward, to every expert
        fresh    ///< as training begins with it: a router
    };
    Kind kind = Kind::copied;
    std::string tensor;  ///< of the dense checkpoint; empty when fresh
    bool operator==(const UpcycleSource&) const = default;
};

/// The source of every parameter of the mixture, by its name.
/// @param dense  shapes of the tensors of the dense checkpoint
/// @throws ConfigError with everything that does not fit: widths, parameters without a source, tensors without a place
std::map<std::string, UpcycleSource> plan_upcycle(const std::map<std::string, Shape>& dense,
                                                  const model::ModelConfig& model,
                                                  const model::MoeConfig& moe);

/// What makes the first outputs of such a mixture differ from the dense model's, one sentence each with the remedy.
std::vector<std::string> upcycle_notes(const model::MoeConfig& moe);

/// Makes a mixture of a dense checkpoint: every expert of a layer begins as a copy of its feed-forward, routers as
/// training would begin, everything else as it is; moments are zero, and the step is 0, so that `train --resume` begins a
/// run of `config`. Holds a part of one matrix at a time.
/// @throws ConfigError as plan_upcycle; IoError as write_checkpoint
/// @par Source  Komatsuzaki et al., Sparse Upcycling, arXiv:2212.05055
void upcycle_checkpoint(const std::filesystem::path& from, const std::filesystem::path& new_folder,
                        const Config& config);

}  // namespace sy::runtime
