#pragma once

#include <functional>
#include <optional>

#include "comm/communicator.hpp"
#include "runtime/checkpoint/manifest.hpp"
#include "runtime/config/config.hpp"
#include "runtime/data/corpus.hpp"

namespace sy::runtime {

/// What a checkpoint says about the text. Each rank reads its share of it, so that all of it is read once.
/// @param stop_wanted  asked now and then; when any rank's answer is yes, all give up
/// @return nothing when it was given up
/// @par Collective
std::optional<DataRecord> record_data(const Config& config, const Corpus& corpus, comm::Communicator& world,
                                      const std::function<bool()>& stop_wanted);

}  // namespace sy::runtime
