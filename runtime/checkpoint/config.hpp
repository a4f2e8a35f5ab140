#pragma once

/// The settings that checkpoints own.
namespace sy::runtime {

/// sharded: one file a rank, and model.h5 shows them as one. single: model.h5 holds everything.
enum class CheckpointLayout { sharded, single };

struct CheckpointConfig {
    CheckpointLayout layout = CheckpointLayout::sharded;
    /// Write while training goes on; the single layout always writes in the foreground.
    bool background = true;
};

}  // namespace sy::runtime
