#pragma once

#include <array>

namespace sy::comm {

/// How rows travel to the experts of other ranks (exchange.hpp).
enum class ExchangeKind {
    flat,         ///< one row per (token, rank)
    hierarchical  ///< one row per (token, node); the ranks of a node read it in shared memory
};

/// All kinds, in the order in which reports list them.
inline constexpr std::array kExchangeKinds{ExchangeKind::flat, ExchangeKind::hierarchical};

/// As `parallel.exchange` writes it.
constexpr const char* exchange_name(ExchangeKind kind) {
    switch (kind) {
        case ExchangeKind::flat:
            return "flat";
        case ExchangeKind::hierarchical:
            return "hierarchical";
    }
    return "";
}

}  // namespace sy::comm
