#pragma once

#include <string>
#include <vector>

/// What UCX reports about itself and about this machine. Without UCX (ucx_available()) each throws ConfigError.
namespace sy::comm {

/// Version of the library that is loaded: "1.13.1".
std::string ucx_version();

/// Every transport over every device that UCX could use here: "tcp/eth0". Memory domains that do not open are left out,
/// as UCX itself leaves them out.
/// @throws CommError naming the query that failed
std::vector<std::string> ucx_transports();

}  // namespace sy::comm
