#pragma once

namespace sy::runtime {

/// sharded: one file a rank, and model.h5 shows them as one. single: model.h5 holds everything.
enum class CheckpointLayout { sharded, single };

struct CheckpointConfig {
    CheckpointLayout layout = CheckpointLayout::sharded;
    bool background =
        true;  ///< write while training goes on; the single layout always writes in the foreground
};

}  // namespace sy::runtime
