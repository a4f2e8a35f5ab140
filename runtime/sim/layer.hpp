#pragma once

#include <functional>

#include "comm/exchange/exchange.hpp"
#include "runtime/sim/routing.hpp"

/// The communication of a mixture layer with the time of its arithmetic put in. T tokens on this rank, H hidden width,
/// F width of an expert, S slots of this rank.
namespace sy::runtime::sim {

/// What messages carry: plans as they are, or rows, which simulation stands in for by narrower ones.
enum class Cargo { plans, rows };

/// What a layer runs on.
class Ground {
  public:
    virtual ~Ground() = default;
    /// Seconds since some moment.
    virtual double now() const = 0;
    /// The rank computes for so long. `stand_in` puts values in the place of what would be computed, within that time.
    virtual void compute(double seconds, const std::function<void()>& stand_in) = 0;
    /// Rows were gathered or added, reading and writing so many bytes.
    virtual void copy(double bytes) = 0;
    /// What messages carry from now on.
    virtual void carry(Cargo cargo) = 0;
};

struct LayerShape {
    RoutingShape routing;
    index_t hidden = 0;
    index_t carried = 0;  ///< width of the rows that are really there; divides `hidden`
    index_t width = 0;
    index_t shared_width = 0;  ///< of shared experts together; 0: none
    DType dtype = DType::f32;  ///< of dispatched rows
    double flops = 1.0;        ///< floating-point operations a second of a rank
};

/// Seconds of the slowest rank; bytes of all ranks, as wide as rows are.
struct LayerTimes {
    double plan = 0.0;
    double dispatch = 0.0;
    double back = 0.0;     ///< return and sum
    double forward = 0.0;  ///< the whole layer
    double backward = 0.0;
    double waited = 0.0;  ///< mean over ranks, of forward and backward
    double node_bytes = 0.0;
    double network_bytes = 0.0;  ///< of one dispatch and one return
    double network_bound = 0.0;
    double error = 0.0;  ///< of tokens that came back, against those that were sent; rows of full width only

    double layer() const { return forward + backward; }
};

/// Times a dispatch, a return, and a whole layer: shared experts and slots of near rows while the others travel, gradients
/// of weights while those of the inputs travel, as model::MoeLayer does.
/// @param repeats  the fastest is kept
/// @par Collective over `group`
LayerTimes run_layer(const LayerShape& shape, const RankRouting& routing, comm::Exchange& exchange,
                     comm::Communicator& group, Ground& ground, const Context& context, int repeats);

}  // namespace sy::runtime::sim
