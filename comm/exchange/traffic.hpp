#pragma once

#include "kernels/core/types.hpp"

namespace sy::comm {

/// Rows that went one way and their bytes.
struct Traffic {
    index_t rows = 0;
    index_t bytes = 0;
    Traffic& operator+=(const Traffic& other) {
        rows += other.rows;
        bytes += other.bytes;
        return *this;
    }
    bool operator==(const Traffic&) const = default;
};

/// What this rank has dispatched and returned, for telemetry.
struct ExchangeTraffic {
    Traffic rank;  ///< rows that only this rank's own experts and tokens need
    Traffic node;  ///< rows for, and slots of, other ranks of the node, by message or through shared memory
    Traffic network;  ///< rows sent to other nodes
    /// Fewest bytes that could cross the network for this rank's tokens: one row per (token, other node), each way.
    index_t network_bound = 0;
    index_t metadata = 0;  ///< bytes of counts, slot records and scalars sent to other ranks
    bool operator==(const ExchangeTraffic&) const = default;
};

/// How long rows of one kind were on their way, and how much of that this rank has waited: what was not hidden.
struct PhaseTime {
    /// From the start of a transfer until this rank has seen that it was complete, and what was waited for ranks of the node
    /// before and after.
    double total_seconds = 0.0;
    double exposed_seconds = 0.0;  ///< inside waits, for messages and for ranks of the node
};

/// The time of this rank's exchanges, for telemetry.
struct ExchangeTimes {
    PhaseTime plan;      ///< counts, slot records and scalars, with the making of plans: nothing hides them
    PhaseTime dispatch;  ///< rows to their experts
    PhaseTime back;      ///< results to their tokens
};

}  // namespace sy::comm
