#pragma once

#include <optional>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "comm/row_messages.hpp"
#include "comm/shared/unit_memory.hpp"
#include "kernels/core/host_values.hpp"

namespace sy::comm {

/// Adds what this rank waits during its life to the exposed time of a phase, and to its total where the time of no flight
/// covers the wait.
class ExposedTime {
  public:
    ExposedTime(const Communicator& group, PhaseTime& time, bool in_flight)
        : group_(group), time_(time), in_flight_(in_flight), before_(group.waited_seconds()) {}
    ~ExposedTime() {
        const double waited = group_.waited_seconds() - before_;
        time_.exposed_seconds += waited;
        if (!in_flight_) time_.total_seconds += waited;
    }
    ExposedTime(const ExposedTime&) = delete;
    ExposedTime& operator=(const ExposedTime&) = delete;

  private:
    const Communicator& group_;
    PhaseTime& time_;
    bool in_flight_;
    double before_;
};

/// The same for what blocks: all of its life counts as the total.
class BlockingTime {
  public:
    BlockingTime(const Communicator& group, PhaseTime& time) : exposed_(group, time, true), time_(time) {}
    ~BlockingTime() { time_.total_seconds += std::chrono::duration<double>(Clock::now() - started_).count(); }
    BlockingTime(const BlockingTime&) = delete;
    BlockingTime& operator=(const BlockingTime&) = delete;

  private:
    ExposedTime exposed_;
    PhaseTime& time_;
    Clock::time_point started_ = Clock::now();
};

/// The memory of a unit as a rank uses it whose operations are queued: what the rank has queued is done before it tells
/// the others that it has come so far.
class QueuedUnitMemory {
  public:
    /// @param num_members  of the unit
    QueuedUnitMemory(UnitMemory& memory, index_t num_members, const Context& context)
        : memory_(memory), is_shared_(num_members > 1), context_(context) {}

    UnitMemory::Phase arrive() {
        if (is_shared_) context_.stream.synchronise(HostValues::kDeadline);
        return memory_.arrive();
    }
    void wait(UnitMemory::Phase phase, const char* doing) { memory_.wait(phase, doing); }
    void meet(const char* doing) { wait(arrive(), doing); }
    /// Whether the host reads and writes it, whatever the device.
    bool is_shared() const { return is_shared_; }

  private:
    UnitMemory& memory_;
    bool is_shared_;
    const Context& context_;
};

/// Messages of a unit's rank, whose time is counted from their start until they are seen to be complete.
class UnitFlight : public Flight {
  public:
    /// @param meets  whether it is complete when all ranks of the unit have their messages; else when this one has
    UnitFlight(RowMessages messages, const char* doing, const Communicator& group, QueuedUnitMemory& memory,
               bool meets, PhaseTime& time)
        : messages_(std::move(messages)),
          doing_(doing),
          group_(group),
          memory_(memory),
          meets_(meets),
          time_(time) {}

    /// This rank has written what its unit reads.
    void near_is_written() { near_ = memory_.arrive(); }

    bool test() override {
        if (!arrived_ && messages_.test()) arrived_ = Clock::now();
        return arrived_.has_value();
    }
    void wait() override {
        {
            const ExposedTime exposed(group_, time_, !arrived_);
            messages_.wait(doing_);
        }
        if (!arrived_) arrived_ = Clock::now();
        time_.total_seconds += std::chrono::duration<double>(*arrived_ - started_).count();
        const ExposedTime exposed(group_, time_, false);
        if (meets_) memory_.meet("rows of a node");
    }

    void wait_near() override {
        SY_REQUIRE(near_.has_value(), "exchange: no rows of this unit are on their way");
        const ExposedTime exposed(group_, time_, !arrived_);
        memory_.wait(*near_, "rows of a node");
    }

  private:
    RowMessages messages_;
    const char* doing_;
    const Communicator& group_;
    QueuedUnitMemory& memory_;
    bool meets_;
    PhaseTime& time_;
    Clock::time_point started_ = Clock::now();
    std::optional<Clock::time_point> arrived_;
    std::optional<UnitMemory::Phase> near_;
};

}  // namespace sy::comm
