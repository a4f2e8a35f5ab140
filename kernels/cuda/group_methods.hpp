#pragma once

#include <cuda_runtime.h>

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/cuda/stream.hpp"

/// How a GPU computes groups of products that do not depend on each other (kernels/ops/gemm/product_group.cuh), and which
/// way is the fastest, by a measurement that the host never waits for.
namespace sy::cuda {

enum class GroupMethod : std::uint8_t {
    one_stream,       ///< one after the other
    several_streams,  ///< shared out over a few streams
    one_call,         ///< by the library's call for groups
};
inline constexpr std::array kGroupMethods{GroupMethod::one_stream, GroupMethod::several_streams,
                                          GroupMethod::one_call};

/// "one_stream", ...
std::string_view group_method_name(GroupMethod method);
/// @throws ConfigError naming those that there are
GroupMethod parse_group_method(std::string_view name);

/// What groups of about the same size have in common: numbers rounded down to a power of two.
struct GroupSize {
    bool is_bf16 = false;
    bool by_library = false;
    bool takes_one_call = false;
    index_t num_products = 0;
    index_t num_m = 0;  ///< of all products together, as the next two
    index_t num_n = 0;
    index_t num_k = 0;

    auto operator<=>(const GroupSize&) const = default;
};

/// Times each method at the first uses, in turn, by events on the stream; then all uses take the fastest.
class FirstUses {
  public:
    /// @param methods  at least one; from one alone nothing is measured
    explicit FirstUses(std::vector<GroupMethod> methods);
    FirstUses(const FirstUses&) = delete;
    FirstUses& operator=(const FirstUses&) = delete;
    ~FirstUses();

    /// The method that the use which begins now has to take. To be followed by end().
    GroupMethod begin(CudaStream& stream);
    void end(CudaStream& stream);
    /// Once all are measured.
    std::optional<GroupMethod> chosen() const { return chosen_; }
    /// "one_stream 1.31 ms, several_streams 1.10 ms"; empty when nothing was measured.
    std::string times() const;

  private:
    struct Timed {
        std::size_t method;
        cudaEvent_t begin;
        cudaEvent_t end;
    };

    bool is_timing() const;
    void choose();

    std::vector<GroupMethod> methods_;
    std::optional<GroupMethod> chosen_;
    std::size_t num_uses_ = 0;
    std::vector<Timed> timed_;
    std::vector<float> best_ms_;
};

/// The methods of all sizes of one device.
class GroupMethods {
  public:
    /// @param fixed  the method of all groups that it can serve; others, which only the library's call cannot, are done on
    ///               one stream. Null: it is measured
    explicit GroupMethods(std::optional<GroupMethod> fixed) : fixed_(fixed) {}

    FirstUses& of(const GroupSize& size);
    /// A line for each size whose method was measured.
    std::string notes() const;

  private:
    std::optional<GroupMethod> fixed_;
    std::map<GroupSize, FirstUses> uses_;
};

}  // namespace sy::cuda
