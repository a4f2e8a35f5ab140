#pragma once

#include "comm/ucx/ucx_communicator.hpp"
#include "kernels/core/arena.hpp"

namespace sy::comm {

/// UCX between the ranks of a group, and an arena whose memory they can put into: registered once, used again and again.
class OneSidedTransport {
  public:
    /// @param group  borrowed until close() of puts()
    /// @throws ConfigError in a build without UCX
    /// @par Collective over the group
    explicit OneSidedTransport(Communicator& group)
        : puts_(connect_ucx(group, settings_for(group))), reachable_(kSlabBytes, ucx_slabs(*puts_)) {}

    Communicator& puts() { return *puts_; }
    Arena& reachable() { return reachable_; }
    double waited_seconds() const { return puts_->waited_seconds(); }
    index_t reachable_bytes() const { return ucx_bytes(*puts_); }

  private:
    static constexpr index_t kSlabBytes = index_t{1} << 20;

    static Communicator::Settings settings_for(const Communicator& group) {
        Communicator::Settings settings = group.settings();
        settings.name += "/ucx";
        return settings;
    }

    std::unique_ptr<Communicator> puts_;
    Arena reachable_;
};

}  // namespace sy::comm
