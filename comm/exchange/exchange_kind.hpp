#pragma once

namespace sy::comm {

/// How rows travel to the experts of other ranks (exchange.hpp).
enum class ExchangeKind { flat, hierarchical };

}  // namespace sy::comm
