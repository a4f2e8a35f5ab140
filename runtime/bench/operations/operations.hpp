#pragma once

#include <functional>
#include <span>
#include <string>

#include "runtime/bench/bench.hpp"

/// What `bench ops` times: operations that are not matrix products, against the bandwidth of copying what each has to
/// read and write once.
namespace sy::runtime::bench::operation {

inline constexpr index_t kTokens = 4096;
inline constexpr index_t kHidden = 512;
inline constexpr index_t kExperts = 64;
inline constexpr index_t kTopK = 6;
inline constexpr index_t kVocabulary = 4096;
inline constexpr index_t kSequence = 256;
inline constexpr index_t kHeadWidth = 64;
inline constexpr double kFloat = sizeof(float);  ///< bytes

/// The machine, the report, and the bandwidth to compare with.
class Bench {
  public:
    Bench(const BenchOptions& options, Report& report);

    const Context& context() { return machine_.context; }
    /// Values that nothing was written to yet.
    Tensor fresh(Shape shape, DType dtype = DType::f32) { return Tensor(machine_.device, dtype, shape); }
    /// Normal numbers that depend on `stream` alone.
    Tensor random(Shape shape, std::uint64_t stream) { return machine_.random<float>(shape, stream); }

    /// Times `body` and reports it as a row.
    /// @param bytes  that the operation must move between memory and processor at least once
    /// @param error  of the result that was timed, or of a run of its own; a row is right up to `tolerance`
    void time(const std::string& name, const std::string& pass, double bytes, double tolerance,
              const std::function<void()>& body, const std::function<double()>& error);

  private:
    const BenchOptions& options_;
    Machine machine_;
    Report& report_;
    double bandwidth_;  ///< bytes a second
};

/// Largest |got - expected| over the largest |expected|; infinite where one is no number.
double largest_error(std::span<const float> got, std::span<const float> expected);

/// Each times one operation, or a few that belong together. The table in operations.cpp lists them.
void norms(Bench& bench);
/// They run on all threads here, from memory, not from cache.
void activations(Bench& bench);
void biases(Bench& bench);
void rotations(Bench& bench);
void attention(Bench& bench);
/// Keys and values of latent attention.
void heads(Bench& bench);
void dropout(Bench& bench);
void soft_cap(Bench& bench);
/// Functions of one element at a time.
void pointwise(Bench& bench);
void cross_entropy(Bench& bench);
void router(Bench& bench);
void rows(Bench& bench);
void embedding(Bench& bench);
void position_table(Bench& bench);
void adamw(Bench& bench);
void casts_and_sums(Bench& bench);

}  // namespace sy::runtime::bench::operation
