#pragma once

namespace sy::comm {

/// How rows travel to the experts of other ranks (exchange.hpp).
enum class ExchangeKind {
    flat,         ///< one row per (token, rank)
    hierarchical  ///< one row per (token, node); the ranks of a node read it in shared memory
};

}  // namespace sy::comm
