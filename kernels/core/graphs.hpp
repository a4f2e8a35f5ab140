#pragma once

#include <functional>
#include <memory>

#include "kernels/core/context.hpp"

/// Work that a device queues again as a whole, for steps that are the same but for what they find in the device's memory: the
/// host then starts one graph instead of every kernel.
namespace sy {

/// Graphs of one stream, by a key that says which steps are the same.
class Graphs {
  public:
    Graphs() = default;
    Graphs(const Graphs&) = delete;
    Graphs& operator=(const Graphs&) = delete;
    virtual ~Graphs() = default;

    /// Does what `queue` queues on the stream: at the first use of a key as it stands; at the second, what is queued is
    /// captured; from then on that is queued again, and `queue` is not called. Whatever changes from one use to the next has
    /// to be in memory of the device that was there before and is written before the call. What `queue` allocates is memory
    /// of these graphs, which the next use of any of them writes to. Returns before the work is done.
    /// @throws LogicError where `queue` uploads other values at its second use than at its first: they would stay as they are
    virtual void run(index_t key, const std::function<void()>& queue) = 0;

    virtual index_t num_captured() const = 0;
    virtual index_t num_replays() const = 0;  ///< uses that called nothing
};

/// What a device is besides that captures its work. Devices of the host do not: what they are told they do at once.
class GraphDevice {
  public:
    virtual ~GraphDevice() = default;

    /// @param stream  of this device, and which outlives the result, as the device does
    virtual std::unique_ptr<Graphs> make_graphs(Stream& stream) = 0;
    /// Kernels, copies and graphs that the host has started so far.
    virtual index_t num_launches() const = 0;
};

/// Graphs of a context's stream; null where its device captures nothing.
inline std::unique_ptr<Graphs> make_graphs(const Context& context) {
    auto* const device = dynamic_cast<GraphDevice*>(&context.device);
    return device == nullptr ? nullptr : device->make_graphs(context.stream);
}

}  // namespace sy
