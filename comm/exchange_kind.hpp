#pragma once

#include <array>

namespace sy::comm {

/// How rows travel to the experts of other ranks (exchange.hpp).
enum class ExchangeKind {
    flat,          ///< one row per (token, rank)
    hierarchical,  ///< one row per (token, node); the ranks of a node read it in shared memory
    one_sided      ///< as flat, put by UCX, or by kernels of GPUs, into the receiver's memory
};

/// All kinds, in the order in which reports list them.
inline constexpr std::array kExchangeKinds{ExchangeKind::flat, ExchangeKind::hierarchical,
                                           ExchangeKind::one_sided};

/// As `parallel.exchange` writes it.
constexpr const char* exchange_name(ExchangeKind kind) {
    switch (kind) {
        case ExchangeKind::flat:
            return "flat";
        case ExchangeKind::hierarchical:
            return "hierarchical";
        case ExchangeKind::one_sided:
            return "one_sided";
    }
    return "";
}

}  // namespace sy::comm
