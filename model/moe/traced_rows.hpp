#pragma once

#include "comm/exchange/exchange.hpp"
#include "kernels/core/trace.hpp"

namespace sy::model {

/// What a dispatch or return is called in traces; string literals.
struct TracedTransfer {
    const char* flight;  ///< from its start until it is seen to be complete
    const char* start;   ///< packing and sending
    const char* wait;
};
inline constexpr TracedTransfer kDispatch{"dispatch", "start dispatch", "wait for dispatch"};
inline constexpr TracedTransfer kReturn{"return", "start return", "wait for return"};
inline constexpr TracedTransfer kDispatchGradients{"dispatch of gradients", "start dispatch of gradients",
                                                   "wait for dispatch of gradients"};
inline constexpr TracedTransfer kReturnGradients{"return of gradients", "start return of gradients",
                                                 "wait for return of gradients"};

/// Where the transfers of a layer are written down.
struct TransferTrace {
    comm::Exchange& exchange;
    TraceLog* log;  ///< may be null
    index_t layer;
};

/// Rows on their way, as comm::PendingRows, whose time and bytes are written down if the log is open.
class TracedRows {
  public:
    /// @param start  gives the PendingRows
    template <class Start>
    TracedRows(const TransferTrace& trace, const TracedTransfer& name, const Start& start)
        : trace_(trace),
          name_(name),
          flight_(trace.log, name.flight, trace.layer),
          sent_before_(sent_bytes()),
          rows_(traced_start(start)) {}

    /// @par Waits  as comm::PendingRows
    Tensor wait() {
        const TraceSpan span(trace_.log, TraceKind::wait, name_.wait, trace_.layer);
        Tensor rows = rows_.wait();
        flight_.finish(sent_bytes() - sent_before_);
        return rows;
    }
    /// @par Waits  as comm::PendingRows
    ConstTensorRef near_rows() { return rows_.near_rows(); }

  private:
    template <class Start>
    comm::PendingRows traced_start(const Start& start) const {
        const TraceSpan span(trace_.log, TraceKind::communication, name_.start, trace_.layer);
        return start();
    }
    index_t sent_bytes() const {
        if (!flight_.is_traced()) return 0;
        const comm::ExchangeTraffic traffic = trace_.exchange.traffic();
        return traffic.node.bytes + traffic.network.bytes;
    }

    TransferTrace trace_;
    TracedTransfer name_;
    TraceFlight flight_;
    index_t sent_before_;
    comm::PendingRows rows_;
};

}  // namespace sy::model
