#pragma once

#include <chrono>
#include <future>
#include <optional>
#include <thread>

#include "comm/communicator.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/trace.hpp"
#include "runtime/checkpoint/checkpoint.hpp"

namespace sy::runtime {

/// Writes the checkpoints of a run, one at a time: start(), then finish() at a later step, when busy() is false on every
/// rank or the next checkpoint is due. In between a thread writes this rank's shard from a snapshot in memory of the host.
/// Only start() and finish() communicate, in the calling thread. Between them there is nothing but a folder
/// `.unfinished-step-N`; a writer that is destroyed then stops writing and leaves it.
class CheckpointWriter {
  public:
    struct Settings {
        std::filesystem::path run;  ///< checkpoints go to run/checkpoints
        index_t keep_last = 1;
        CheckpointConfig form;
        TraceLog* trace = nullptr;  ///< where the writing of shards is written down; null: nowhere; borrowed
    };
    /// @param context  its device holds the snapshot, and keeps it for the next one
    CheckpointWriter(Settings settings, const Context& context, comm::Communicator& world);

    /// Begins run/checkpoints/step-N. In the background the pieces may change as soon as this returns; else all is
    /// written when it does. @pre not under_way()
    /// @param read  what the pieces are of, if they are of a device. Where that is a copy already, it is kept until all is
    ///              written, in place of another one
    /// @throws IoError on every rank when any fails
    /// @par Collective over the world
    void start(const std::vector<Piece>& pieces, Manifest manifest, std::optional<HostValues> read = {});

    /// Whether start() returns before all is written.
    bool in_background() const {
        return settings_.form.background && settings_.form.layout == CheckpointLayout::sharded;
    }
    /// Whether a checkpoint was started and not finished; the same on every rank.
    bool under_way() const { return records_.valid(); }
    /// Whether this rank still writes. Local.
    bool busy() const;

    struct Published {
        index_t step = 0;
        std::filesystem::path folder;
        double seconds = 0.0;            ///< that training stood still for it: in start() and finish()
        double total_seconds = 0.0;      ///< from start() to publication
        std::vector<std::string> notes;  ///< what could not be removed; on rank 0
    };
    /// Waits until every rank has written, then publishes: manifest, rename, `latest`; removes all but keep_last, of which a
    /// failure is only noted.
    /// @pre under_way()
    /// @throws IoError on every rank when any rank failed; earlier checkpoints stay as they are
    /// @par Collective over the world
    Published finish();

  private:
    /// Gives this rank's part of the manifest as text.
    using Task = std::packaged_task<std::string(std::stop_token)>;
    Task make_task(const std::vector<Piece>& pieces);
    std::vector<Piece> take_snapshot(const std::vector<Piece>& pieces);
    void publish(const std::vector<std::string>& records);

    Settings settings_;
    const Context& context_;
    comm::Communicator& world_;
    Manifest manifest_;
    std::filesystem::path unfinished_;
    std::vector<std::string> notes_;  ///< on rank 0
    std::chrono::steady_clock::time_point start_;
    double start_seconds_ = 0.0;
    Buffer snapshot_;
    std::optional<HostValues> read_;    ///< what is written, where it was a copy to begin with
    std::future<std::string> records_;  ///< from the task
    std::jthread thread_;               ///< joined first: it reads the snapshot
};

}  // namespace sy::runtime
