#include "kernels/ops/top_tokens/top_tokens.hpp"

#include <vector>

#include "kernels/cuda/cuda_bodies.hpp"
#include "kernels/cuda/host_list.hpp"
#include "kernels/cuda/team.hpp"

namespace sy::ops {
namespace {

/// 64 bits, so that all 32 of it can be shifted away.
__device__ std::uint64_t key_of(float score) {
    const std::uint32_t bits = __float_as_uint(score + 0.0F);
    return (bits >> 31) != 0 ? ~bits : bits | 0x80000000U;
}

/// Thresholds in the memory of the GPU.
class Thresholds {
  public:
    Thresholds(PerExpertSpan<const TokenThreshold> thresholds, const Context& context)
        : keys_(keys_of(thresholds), context), ties_(ties_of(thresholds), context) {}
    const index_t* keys() const { return keys_.data(); }
    const index_t* ties() const { return ties_.data(); }

  private:
    static std::vector<index_t> keys_of(PerExpertSpan<const TokenThreshold> thresholds) {
        std::vector<index_t> keys;
        for (const TokenThreshold& threshold : thresholds)
            keys.push_back(static_cast<index_t>(threshold.key));
        return keys;
    }
    static std::vector<index_t> ties_of(PerExpertSpan<const TokenThreshold> thresholds) {
        std::vector<index_t> ties;
        for (const TokenThreshold& threshold : thresholds) ties.push_back(threshold.ties);
        return ties;
    }

    cuda::HostList<index_t> keys_;
    cuda::HostList<index_t> ties_;
};

}  // namespace

void on_cuda::count_key_digits(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                               int shift, TensorRef counts, const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const Thresholds list(thresholds, context);
    const index_t* const threshold = list.keys();
    // Unsigned, as atomicAdd has it.
    auto* const counts_ed = reinterpret_cast<unsigned long long*>(cuda::values<index_t>(counts));
    SY_CUDA(cudaMemsetAsync(counts_ed, 0,
                            static_cast<std::size_t>(counts.num_elements()) * sizeof(*counts_ed),
                            cuda::stream_of(context)));
    cuda::for_matrix(context, scores_te.rows, scores_te.cols, [=] __device__(index_t t, index_t e) {
        const std::uint64_t key = key_of(scores_te(t, e));
        if (key >> (shift + kKeyDigitBits) != static_cast<std::uint64_t>(threshold[e])) return;
        const auto digit = static_cast<index_t>((key >> shift) % static_cast<std::uint64_t>(kKeyDigits));
        atomicAdd(counts_ed + e * kKeyDigits + digit, 1ULL);
    });
}

void on_cuda::take_top_tokens(ConstTensorRef scores, PerExpertSpan<const TokenThreshold> thresholds,
                              PerExpertSpan<const index_t> earlier, TensorRef taken, const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const auto taken_te = cuda::view<std::uint8_t>(taken);
    const Thresholds list(thresholds, context);
    const cuda::HostList<index_t> earlier_list(
        std::span<const index_t>(earlier.data(), static_cast<std::size_t>(earlier.size())), context);
    const index_t* const threshold = list.keys();
    const index_t* const ties = list.ties();
    const index_t* const earlier_ties = earlier_list.data();
    // A warp for each expert goes through the tokens in order and counts those that have the threshold's key.
    cuda::for_rows(context, scores_te.cols, cuda::kWarp, [=] __device__(index_t e, const cuda::Team& team) {
        const auto end = static_cast<std::uint64_t>(threshold[e]);
        index_t tie = earlier_ties[e];
        for (index_t first = 0; first < scores_te.rows; first += cuda::kWarp) {
            const index_t t = first + team.thread;
            const bool is_token = t < scores_te.rows;
            const std::uint64_t key = is_token ? key_of(scores_te(t, e)) : 0;
            const unsigned tied = __ballot_sync(cuda::kAllLanes, is_token && key == end ? 1 : 0);
            const unsigned before = tied & ((1U << team.thread) - 1U);
            if (is_token) {
                const bool fits = key == end && tie + __popc(before) < ties[e];
                taken_te(t, e) = key > end || fits ? 1 : 0;
            }
            tie += __popc(tied);
        }
    });
}

void on_cuda::list_takers(ConstTensorRef scores, ConstTensorRef taken, TensorRef expert,
                          const Context& context) {
    const auto scores_te = cuda::view<const float>(scores);
    const auto taken_te = cuda::view<const std::uint8_t>(taken);
    const auto expert_tk = cuda::view<std::int32_t>(expert);
    cuda::for_elements(context, scores_te.rows, [=] __device__(index_t t) {
        std::int32_t* const list = expert_tk.row(t);
        index_t count = 0;
        for (index_t e = 0; e < scores_te.cols; ++e) {
            if (taken_te(t, e) == 0) continue;
            // More takers than the caller has room for: nothing is written beyond it.
            if (count == expert_tk.cols) __trap();
            index_t place = count++;
            while (place > 0 && key_of(scores_te(t, e)) > key_of(scores_te(t, list[place - 1]))) {
                list[place] = list[place - 1];
                --place;
            }
            list[place] = static_cast<std::int32_t>(e);
        }
        for (index_t j = count; j < expert_tk.cols; ++j) list[j] = -1;
    });
}

}  // namespace sy::ops
