#pragma once

#include "comm/communicator.hpp"

namespace sy::comm {

/// A transfer that can be completed inside the library that carries it: in simulation time passes nowhere else.
class BlockingRequest : public Request {
  public:
    /// @par Waits  without a deadline, which simulation does not need: it notices that nobody can go on @throws CommError
    virtual void block() = 0;
};

}  // namespace sy::comm
