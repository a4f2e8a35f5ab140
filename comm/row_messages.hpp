#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "comm/device_messages.hpp"
#include "kernels/core/host_values.hpp"

namespace sy::comm {

/// Messages of rows that a device holds, started together: from device to device where the group's ranks can do that, else
/// by way of the host's memory.
class RowMessages {
  public:
    /// @param tag      0 .. kMaxTag; distinct for messages under way at the same time
    /// @param devices  of the group, or null: through the host's memory. Alike on both sides of a message.
    /// @param context  borrowed, as the group is, until the messages are complete
    RowMessages(Communicator& group, int tag, DeviceMessages* devices, const Context& context)
        : group_(&group), tag_(tag), devices_(devices), context_(&context) {}

    /// Rows without gaps, of other ranks. Those without elements send no message.
    void send(ConstTensorRef rows, int destination);
    void receive(TensorRef rows, int source);
    /// Into memory that the host writes to whatever the device. @pre no `devices`
    void receive(std::span<std::byte> bytes, int source);

    /// @par Buffers  rows that are sent may be read but not written until the messages are complete, and those that are
    ///               received neither
    /// @par Waits    through the host's memory: for what is queued on the context's stream; else as DeviceMessages::start
    void start();
    /// Makes progress without blocking; true when all are complete.
    bool test();
    /// What is queued on the context's stream from now on finds what has arrived.
    /// @pre test() has said that all are complete
    void finish();
    /// The same for messages that may not be complete.
    /// @par Waits  through the host's memory: until all are complete, at most the group's deadline; from device to device
    ///             not at all, since the stream does, and later waits of this rank keep the deadline (DeviceMessages::watch)
    /// @throws TimeoutError, CommError
    void wait(std::string_view doing);

    index_t sent_bytes() const { return sent_bytes_; }

  private:
    struct HostMessage {
        std::span<std::byte> bytes;
        int source;
    };
    void start_through_host();

    Communicator* group_;
    int tag_;
    DeviceMessages* devices_;
    const Context* context_;
    std::vector<DeviceMessages::Outgoing> outgoing_;
    std::vector<DeviceMessages::Incoming> incoming_;
    std::vector<HostMessage> to_host_;
    index_t sent_bytes_ = 0;
    std::optional<HostValues> sent_;
    std::vector<HostRoom> rooms_;
    std::vector<std::unique_ptr<Request>> requests_;
    std::unique_ptr<DeviceTransfer> transfer_;  ///< null before start() and after finish()
};

}  // namespace sy::comm
