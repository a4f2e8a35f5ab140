#pragma once

#include <memory>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "comm/topology/topology.hpp"
#include "model/config.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/bench/exchange_routing.hpp"

/// Ways for rows to reach their experts and come back, timed side by side.
namespace sy::runtime::bench {

/// Tokens on their way to experts that multiply them by their weights: what all ways have in common.
/// T tokens on this rank, H their width.
class ExchangeTask {
  public:
    /// @par Collective over `world`
    ExchangeTask(const ExchangeShape& shape, BenchRouting routing, model::WireFormat wire, Machine& machine,
                 comm::Communicator& world);

    comm::Communicator& world() const { return world_; }
    const comm::Topology& topology() const { return topology_; }
    Machine& machine() const { return machine_; }
    const comm::Placement& placement() const { return placement_; }
    const BenchRouting& routing() const { return routing_; }
    model::WireFormat wire() const { return wire_; }
    index_t hidden() const { return x_.ref().cols(); }
    const Tensor& x() const { return x_; }
    /// [T, H] what has come back.
    Tensor& y() { return y_; }
    /// Largest difference of y from what had to come back; y becomes zero, so that no way shows another's result.
    double take_error();

  private:
    Machine& machine_;
    comm::Communicator& world_;
    comm::Topology topology_;
    comm::Placement placement_;
    BenchRouting routing_;
    model::WireFormat wire_;
    Tensor x_;
    Tensor y_;
};

/// All functions are @par Collective over the world, in the order in which they stand here.
class RoundTrip {
  public:
    virtual ~RoundTrip() = default;
    virtual const char* name() const = 0;
    virtual model::WireFormat wire() const { return model::WireFormat::f32; }
    virtual bool has_plan() const { return false; }
    virtual void plan() {}
    virtual void dispatch() = 0;
    /// Multiplies rows by their weights, as experts would; not timed.
    virtual void weigh_rows() {}
    /// Room for results, which is part of the return but before the experts.
    virtual void make_room() {}
    /// Brings results to their tokens and adds them up.
    virtual void bring_back() = 0;
    /// Largest difference from what had to come back, on this rank.
    virtual double take_error() = 0;
    /// @par Collective, after the last round
    virtual void close() {}
};

/// What exchanges are compared with: nothing, or `MPI_Alltoallv`, of the rows of a flat exchange and of a row for each choice.
enum class Peers { none, mpi_alltoallv };

/// The peers in this order, then every exchange. @par Collective over the world
std::vector<std::unique_ptr<RoundTrip>> make_round_trips(ExchangeTask& task, Peers peers);

struct RoundTripTimes {
    Times plan;
    Times dispatch;
    Times back;
    Times there_and_back;  ///< dispatch and return of the same round
    double error = 0.0;    ///< of the worst round and rank
};

/// Times of the slowest rank in rounds in which all take turns: what disturbs the machine meets them alike. Every round is
/// checked. @par Collective over the world
std::vector<RoundTripTimes> time_round_trips(const BenchOptions& options, comm::Communicator& world,
                                             std::span<const std::unique_ptr<RoundTrip>> round_trips);

}  // namespace sy::runtime::bench
