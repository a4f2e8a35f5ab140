#pragma once

#include <mpi.h>

#include <array>
#include <vector>

#include "comm/roll_call.hpp"

namespace sy::comm {

/// The roll call over messages between all ranks that MPI has started.
class MpiRollCall : public RollCall {
  public:
    MpiRollCall();

    void answer(const Wait& wait) override;
    std::string call(const Wait& wait) override;

  private:
    using Text = std::array<char, 160>;

    void begin(const Wait& wait);
    void hear(const Wait& wait);
    void report_to(int rank);
    std::vector<int> silent_ranks() const;
    std::string answers() const;

    int rank_ = 0;
    // Once it has begun:
    const Text* report_ = nullptr;  ///< what this rank waits for
    std::vector<Text> heard_;       ///< by rank; empty texts are still to come
    std::vector<char> has_report_;  ///< by rank, whether it has been told
};

}  // namespace sy::comm
