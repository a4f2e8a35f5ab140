#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "kernels/core/context.hpp"

namespace sy {

/// What operations spend their time on.
enum class OpKind {
    product,        ///< matrix products, wherever they are: linear layers, experts, attention
    normalisation,  ///< norms with the residual addition fused into them
    softmax,        ///< attention's and the head's, with the cross entropy
    elementwise,    ///< activations, biases, positions, additions, casts, noise, embedding rows
    routing,        ///< router scores and top-k, gathering and summing of rows
    optimizer,      ///< AdamW and the gradient's norm
};
inline constexpr std::array kOpKinds{OpKind::product,     OpKind::normalisation, OpKind::softmax,
                                     OpKind::elementwise, OpKind::routing,       OpKind::optimizer};
std::string_view op_kind_name(OpKind kind);

/// Time and arithmetic by kind of operation, for benchmarks. Operations report to the profile of their context, if it
/// has one; matrix products report from the threads they run on, and their share of an operation's threads is taken
/// out of the operation's own time. What threads idle inside an operation therefore counts against its kind.
class Profile {
  public:
    struct Entry {
        double seconds = 0.0;
        /// Multiply-adds count two, any other arithmetic or exponential one.
        double flops = 0.0;
    };
    Entry entry(OpKind kind) const;
    /// Resets all counts. Not to be called inside an operation.
    void clear();

    /// Adds a product that one thread of a team has computed. Callable from all threads at once.
    void add_product(std::chrono::nanoseconds time, std::int64_t flops);

  private:
    friend class Timed;
    std::array<Entry, kOpKinds.size()> entries_{};
    std::atomic<std::int64_t> product_ns_{0};
    std::atomic<std::int64_t> product_flops_{0};
    bool inside_ = false;
};

/// Reports its lifetime as one operation, in the thread that calls operations. An operation that calls another counts
/// once, as the outer one.
class Timed {
  public:
    /// @param flops  of the operation besides its products
    Timed(const Context& context, OpKind kind, double flops);
    Timed(const Timed&) = delete;
    Timed& operator=(const Timed&) = delete;
    ~Timed();

  private:
    Profile* profile_;
    OpKind kind_;
    double flops_;
    int team_size_;
    std::chrono::steady_clock::time_point start_;
    std::int64_t product_ns_ = 0;
    std::int64_t product_flops_ = 0;
};

}  // namespace sy
