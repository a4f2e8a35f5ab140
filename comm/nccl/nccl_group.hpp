#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "comm/device_messages.hpp"
#include "kernels/core/device.hpp"

/// NCCL as the program holds it, which knows no CUDA: the module of CUDA (kernels/cuda/module.hpp) makes these. Nothing
/// here waits; who calls does, with a deadline (nccl_communicator.hpp).
namespace sy::comm {

/// By which the ranks of a group find each other; one of them makes it.
using NcclId = std::array<std::byte, 128>;

/// Memory of this rank's GPU that kernels of the other ranks put rows into: windows, which all ranks open together.
class NcclWindows {
  public:
    virtual ~NcclWindows() = default;

    /// What a window is for: words by which kernels tell each other how far they are, the first of all, or rows.
    enum class Use { words, rows };
    /// Tells NCCL to open one, as an operation of the group. @par Collective with equal bytes
    /// @throws CommError, where there is no memory
    virtual void begin_opening(Use use, index_t bytes) = 0;
    /// The new window's first byte. @pre the group is ready again
    virtual std::byte* finish_opening() = 0;
    /// Queues on the group's stream what puts rows into the windows of others, and waits there for those of this rank.
    /// @param incoming  rows in windows of this rank; each begins at a multiple of the bytes of a row
    virtual void put(std::span<const DeviceMessages::Outgoing> outgoing,
                     std::span<const DeviceMessages::Incoming> incoming) = 0;
    /// Bytes of all windows.
    virtual index_t bytes() const = 0;
    /// @throws TimeoutError naming the rank that a kernel has waited for too long
    virtual void check() const = 0;
    /// Tells NCCL to end the last window, as an operation of the group. @return false: there is none
    /// @pre nothing is on its way on any rank
    virtual bool begin_closing() = 0;
    /// @pre the group is ready again
    virtual void finish_closing() = 0;
    /// Kernels that wait for a peer end without effect. @par Waits  until they have, a second at most
    virtual void abort() noexcept = 0;
};

/// This rank's part of a group of GPUs. One operation at a time is told to NCCL: after each call is_ready() has to return
/// true before the next.
class NcclGroup {
  public:
    /// Gives up what is under way, unless end() is over.
    virtual ~NcclGroup() = default;

    /// Where its operations are queued.
    virtual Stream& stream() = 0;
    /// Whether NCCL has finished what it was told last: connected, queued on the stream, or ended.
    /// @throws CommError in NCCL's words when it, or a peer, has failed
    virtual bool is_ready() = 0;
    /// Queues all of them as one.
    /// @throws CommError when NCCL refuses them
    virtual void send_receive(std::span<const DeviceMessages::Outgoing> outgoing,
                              std::span<const DeviceMessages::Incoming> incoming) = 0;
    /// The group's own, until its end. @param deadline  of a wait for a peer; kernels give up a second after it
    /// @throws ConfigError saying why there can be none
    virtual NcclWindows& make_windows(std::chrono::milliseconds deadline) = 0;
    /// Whether what was queued on the stream up to an event is done.
    virtual bool is_done(const Event& event) = 0;
    /// Tells NCCL that nothing follows. @pre all that was queued is done
    virtual void end() = 0;
    /// What is queued ends without effect; nothing else may be called afterwards.
    virtual void abort() noexcept = 0;
};

class NcclLibrary {
  public:
    virtual ~NcclLibrary() = default;
    /// As "2.28.9".
    virtual std::string version() const = 0;
    virtual NcclId make_id() = 0;
    /// Begins to connect. The group must not outlive the library nor the device.
    /// @param device  of make_cuda_device
    /// @param name    of the group, for messages
    /// @throws CommError
    virtual std::unique_ptr<NcclGroup> connect(const NcclId& id, int rank, int size, Device& device,
                                               const std::string& name) = 0;
};

/// What the module's symbol is called with, and what it answers with.
struct NcclModuleCall {
    std::size_t device_bytes = 0;  ///< sizeof(Device): programs and modules of different versions do not fit
    NcclLibrary* library = nullptr;  ///< the caller owns it; null: `message` says why
    char message[1024] = {};
};
using NcclModuleEntry = void(NcclModuleCall& call);
inline constexpr const char* kNcclModuleSymbol = "switchyard_load_nccl";

}  // namespace sy::comm
