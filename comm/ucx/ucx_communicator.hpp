#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.hpp"

/// Messages that are put straight into the receiver's memory by UCX (UCP), without tag matching or active messages of
/// our own. The body matches by itself: comm/ucx/messenger.hpp tells how.
namespace sy::comm {

/// Whether this binary has UCX. Without it connect_ucx throws ConfigError with the reason.
bool ucx_available();

/// A communicator of the same ranks as `wire_up`, over the transports that UCX chooses here (UCX_TLS and UCX_NET_DEVICES
/// choose for it). Parts that are split from it share its endpoints and its memory.
/// @param wire_up   carries the addresses of all ranks, and the end of close(): it has to live until then
/// @param settings  of the result; it does not spin where ranks outnumber the processors of their node
/// @throws CommError when UCX cannot start or reach a rank; ConfigError in a build without UCX
/// @par Collective  over wire_up
/// @par Waits       wire_up's deadline
/// @par Cost        memory of a rank: two rings for every other rank (one shared, one private that is touched as it is
///                  used), each of 256 KiB on up to 256 ranks, less on more, at least 32 KiB; and for messages that arrive
///                  before their receives at most 8 MiB plus 100 bytes a message from each rank
std::unique_ptr<Communicator> connect_ucx(Communicator& wire_up, Communicator::Settings settings);

/// Slabs for an Arena that peers can put into directly: registered once, when they are made. What is received into other
/// memory is registered for each long message (UCX keeps registrations of its own where they are dear), and between
/// processes that share memory it is copied twice.
/// @param ucx  connect_ucx has made it, or it was split from one that was
/// @return     for Arena's constructor; the slabs live as long as `ucx` or anything else split from the same one
/// @throws LogicError for another body's communicator
std::function<std::byte*(index_t)> ucx_slabs(Communicator& ucx);

/// Bytes that this rank has for messages of all communicators split from the same one: the window that others put into,
/// slabs, and copies of what it puts. What UCX takes for itself is not among them.
/// @throws LogicError for another body's communicator
index_t ucx_bytes(Communicator& ucx);

}  // namespace sy::comm
