#include "comm/exchange/one_sided_transport.hpp"
#include "comm/exchange/relayed_exchange.hpp"
#include "comm/exchange/window_exchange.hpp"

namespace sy::comm {
namespace {

/// The flat exchange over UCX, which puts rows into memory that their senders can reach.
class OneSidedExchange : private OneSidedTransport, public UnitExchange {
  public:
    OneSidedExchange(Communicator& group, const Topology& topology, const Context& context)
        : OneSidedTransport(group),
          UnitExchange(ExchangeKind::flat, puts(), topology, {context.device, &reachable()}, nullptr,
                       context) {}
    void close() override { puts().close(); }
    double waited_seconds() const override { return OneSidedTransport::waited_seconds(); }
    index_t reachable_bytes() const override { return OneSidedTransport::reachable_bytes(); }
};

}  // namespace

bool has_exchange(ExchangeKind kind) {
    return kind != ExchangeKind::one_sided || ucx_available();
}

std::unique_ptr<Exchange> make_exchange(ExchangeKind kind, Communicator& group, const Topology& topology,
                                        const Context& context) {
    SY_REQUIRE(topology.num_ranks() == group.size(), "exchange: a topology of ", topology.num_ranks(),
               " ranks for a group of ", group.size());
    const bool on_host = context.device.is_host_memory();
    if (kind == ExchangeKind::one_sided && on_host)
        return std::make_unique<OneSidedExchange>(group, topology, context);
    // One rank puts nothing, and has no peers to connect.
    if (kind == ExchangeKind::one_sided && group.size() > 1)
        return std::make_unique<WindowExchange>(group, topology, context);
    if (kind == ExchangeKind::one_sided) kind = ExchangeKind::flat;
    if (kind == ExchangeKind::hierarchical && !on_host)
        return std::make_unique<RelayedExchange>(group, topology, context);
    DeviceMessages* const devices = kind == ExchangeKind::flat ? device_messages(group) : nullptr;
    return std::make_unique<UnitExchange>(kind, group, topology, context.device, devices, context);
}

}  // namespace sy::comm
