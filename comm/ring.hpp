#pragma once

#include "comm/communicator.hpp"

namespace sy::comm {

/// Calls body(source, destination) once for each other rank in both roles: the neighbours first, so that no rank is
/// everyone's first destination.
template <class Body>
void for_ring(const Communicator& comm, const Body& body) {
    for (int step = 1; step < comm.size(); ++step)
        body((comm.rank() + comm.size() - step) % comm.size(), (comm.rank() + step) % comm.size());
}

}  // namespace sy::comm
