#pragma once

#include <optional>
#include <utility>

#include "comm/exchange/exchange.hpp"
#include "comm/shared/unit_memory.hpp"

namespace sy::comm {

/// Adds what this rank waits during its life to the exposed time of a phase.
class ExposedTime {
  public:
    ExposedTime(const Communicator& group, PhaseTime& time)
        : group_(group), time_(time), before_(group.waited_seconds()) {}
    ~ExposedTime() { time_.exposed_seconds += group_.waited_seconds() - before_; }
    ExposedTime(const ExposedTime&) = delete;
    ExposedTime& operator=(const ExposedTime&) = delete;

  private:
    const Communicator& group_;
    PhaseTime& time_;
    double before_;
};

/// The same for what blocks: all of its life counts as the total.
class BlockingTime {
  public:
    BlockingTime(const Communicator& group, PhaseTime& time) : exposed_(group, time), time_(time) {}
    ~BlockingTime() { time_.total_seconds += std::chrono::duration<double>(Clock::now() - started_).count(); }
    BlockingTime(const BlockingTime&) = delete;
    BlockingTime& operator=(const BlockingTime&) = delete;

  private:
    ExposedTime exposed_;
    PhaseTime& time_;
    Clock::time_point started_ = Clock::now();
};

/// Messages of a unit's rank, whose time is counted from their start until they are seen to be complete.
class UnitFlight : public Flight {
  public:
    /// @param memory  null: complete when the messages are; else when all ranks of the unit have theirs
    UnitFlight(PendingExchange exchange, const Communicator& group, UnitMemory* memory, PhaseTime& time)
        : exchange_(std::move(exchange)), group_(group), memory_(memory), time_(time) {}

    /// This rank has written what its unit reads.
    void near_is_written() { near_ = memory_->arrive(); }

    bool test() override {
        if (!arrived_ && exchange_.test()) arrived_ = Clock::now();
        return arrived_.has_value();
    }
    void wait() override {
        const ExposedTime exposed(group_, time_);
        exchange_.wait();
        if (!arrived_) arrived_ = Clock::now();
        if (memory_ != nullptr) memory_->meet("rows of a node");
        time_.total_seconds += std::chrono::duration<double>(*arrived_ - started_).count();
    }

    void wait_near() override {
        SY_REQUIRE(near_.has_value(), "exchange: no rows of this unit are on their way");
        const ExposedTime exposed(group_, time_);
        memory_->wait(*near_, "rows of a node");
    }

  private:
    PendingExchange exchange_;
    const Communicator& group_;
    UnitMemory* memory_;
    PhaseTime& time_;
    Clock::time_point started_ = Clock::now();
    std::optional<Clock::time_point> arrived_;
    std::optional<UnitMemory::Phase> near_;
};

}  // namespace sy::comm
