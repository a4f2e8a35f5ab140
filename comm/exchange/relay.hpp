#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/indexed.hpp"

namespace sy::comm {

struct RelayAxis;

/// Rows of one array that are gathered and sent to other members of a unit, and where those lie that come from them.
struct Relay {
    struct Part {
        int rank;    ///< the other member
        Range rows;  ///< sent: of `row`; received: of the array that they arrive in
        bool operator==(const Part&) const = default;
    };
    /// What stays with this rank.
    struct Kept {
        Range rows;    ///< of `kept_row`
        Range target;  ///< of the array that rows arrive in
        bool operator==(const Kept&) const = default;
    };
    Indexed<RelayAxis, std::int32_t> row;  ///< what is sent, in the order of parts
    std::vector<Part> sent;
    std::vector<Part> received;
    Indexed<RelayAxis, std::int32_t> kept_row;
    std::vector<Kept> kept;

    bool operator==(const Relay&) const = default;
};

/// How the ranks of a unit read each other's rows when they share no memory, as the GPUs of a node: whoever has a row sends
/// it on to the members whose experts need it, and results go to the member that adds them up. Of two members, both list
/// the rows between them in the same order. Empty where memory is shared.
struct RelayPlan {
    Relay near_rows;    ///< tokens of this rank, to received rows
    Relay far_rows;     ///< rows that landed here, in the order of GatewayPlan::row_offsets, to received rows
    Relay far_results;  ///< results of rows that came from other units, to the gateways of their sources
    Relay near_results;  ///< results of rows of the unit's own tokens, to their ranks
    bool operator==(const RelayPlan&) const = default;
};

}  // namespace sy::comm
