#pragma once

#include <memory>
#include <span>

#include "comm/communicator.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/tensor_ref.hpp"

namespace sy::comm {

/// Messages from the memory of one rank's device to that of another's, as a request of the host.
class DeviceTransfer : public Request {
  public:
    /// What is queued after it finds what has arrived.
    virtual Event arrival() const = 0;
};

/// Carries rows between the memories of devices, which never come to the host. A communicator that can do so derives from
/// this too (comm/nccl).
class DeviceMessages {
  public:
    struct Outgoing {
        ConstTensorRef rows;  ///< without gaps
        int destination;      ///< another rank
    };
    struct Incoming {
        TensorRef rows;  ///< without gaps, of the bytes that are sent
        int source;      ///< another rank
    };

    virtual ~DeviceMessages() = default;

    /// Starts all of them at once. Messages between two ranks arrive in the order in which they were started.
    /// @par Buffers  are used after all that has been queued on the context's stream, and belong to the transfer until its
    ///               arrival
    /// @par Waits    until the device has been told, not for its peers @throws TimeoutError, CommError
    virtual std::unique_ptr<DeviceTransfer> start(std::span<const Outgoing> outgoing,
                                                  std::span<const Incoming> incoming,
                                                  const Context& context) = 0;
    /// Takes over a transfer for which a stream waits, so that the host need not: all waits of this rank see to it from now
    /// on, and throw TimeoutError when it takes longer than the communicator's deadline, CommError when it has failed.
    virtual void watch(std::unique_ptr<DeviceTransfer> transfer) = 0;
};

/// Null where messages of this communicator go through the host's memory.
DeviceMessages* device_messages(Communicator& group);

/// Messages that the sender's device puts straight into memory of the receiver's: rows arrive in windows, which all ranks
/// open together and with equal sizes. What is sent may lie anywhere.
class DeviceWindows : public DeviceMessages {
  public:
    /// Opens another window. @return its first byte on this rank
    /// @throws CommError when a device has no memory for it; TimeoutError @par Collective
    virtual std::byte* open(index_t bytes) = 0;
    /// What this rank's windows hold together.
    virtual index_t bytes() const = 0;
    /// Ends them. @par Collective @par Waits  until all that is on its way has arrived
    virtual void close() = 0;
};

/// What a communicator derives from whose ranks' devices reach each other's memory, or may do so.
class WindowedGroup {
  public:
    virtual ~WindowedGroup() = default;
    /// @param context  borrowed, as the communicator is, until the result is destroyed
    /// @throws ConfigError on all ranks, saying what the first that has a problem lacks @par Collective
    virtual std::unique_ptr<DeviceWindows> make_windows(const Context& context) = 0;
};

/// Null for a communicator that has no way to do it.
WindowedGroup* windowed_group(Communicator& group);

}  // namespace sy::comm
