#pragma once

#include <string>
#include <string_view>

namespace sy::comm {

/// After a time-out, finds out which ranks of the job are silent, and what the others wait for: the rank that a message is
/// missing from may itself wait for another one.
class RollCall {
  public:
    /// What a rank does in its wait, "dispatch of layer 3", and on which communicator.
    struct Wait {
        std::string_view doing;
        std::string_view communicator;
    };

    virtual ~RollCall() = default;
    /// Tells whoever has called the roll what this rank waits for, once: a job does not outlive a time-out. For ranks that
    /// wait; does nothing while nobody has called.
    virtual void answer(const Wait& wait) = 0;
    /// Asks all ranks, and answers them. @return sentences for the message of the time-out
    /// @par Waits  until all have answered, at most two seconds
    virtual std::string call(const Wait& wait) = 0;
};

}  // namespace sy::comm
