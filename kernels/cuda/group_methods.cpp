#include "kernels/cuda/group_methods.hpp"

#include <algorithm>
#include <sstream>

#include "kernels/cuda/error.hpp"

namespace sy::cuda {
namespace {

/// The first round makes handles and loads code; the better time of the others counts.
constexpr std::size_t kRounds = 3;

std::vector<GroupMethod> methods_for(const GroupSize& size, std::optional<GroupMethod> fixed) {
    const bool one_call = size.takes_one_call;
    if (fixed && (*fixed != GroupMethod::one_call || one_call)) return {*fixed};
    if (fixed || size.num_products == 1) return {GroupMethod::one_stream};
    std::vector<GroupMethod> methods{GroupMethod::one_stream, GroupMethod::several_streams};
    if (one_call) methods.push_back(GroupMethod::one_call);
    return methods;
}

}  // namespace

std::string_view group_method_name(GroupMethod method) {
    switch (method) {
        case GroupMethod::one_stream:
            return "one_stream";
        case GroupMethod::several_streams:
            return "several_streams";
        case GroupMethod::one_call:
            return "one_call";
    }
    throw LogicError("group method: no such one");
}

GroupMethod parse_group_method(std::string_view name) {
    std::string known;
    for (const GroupMethod method : kGroupMethods) {
        if (name == group_method_name(method)) return method;
        known += concat(known.empty() ? "" : ", ", group_method_name(method));
    }
    throw ConfigError(concat("cuda: no way to compute groups of products is called ", name, "; there are ",
                             known, ", and the fastest is measured where none is named"));
}

FirstUses::FirstUses(std::vector<GroupMethod> methods)
    : methods_(std::move(methods)), best_ms_(methods_.size()) {
    if (methods_.size() == 1) chosen_ = methods_.front();
}

FirstUses::~FirstUses() {
    // A failure here was reported by the call that caused it, or the process ends anyway.
    for (const Timed& timed : timed_) {
        static_cast<void>(cudaEventDestroy(timed.begin));
        static_cast<void>(cudaEventDestroy(timed.end));
    }
}

bool FirstUses::is_timing() const {
    return !chosen_ && num_uses_ >= methods_.size() && num_uses_ < kRounds * methods_.size();
}

GroupMethod FirstUses::begin(CudaStream& stream) {
    if (!chosen_ && num_uses_ == kRounds * methods_.size()) choose();
    if (chosen_) return *chosen_;
    const std::size_t method = num_uses_ % methods_.size();
    if (is_timing()) {
        Timed timed{method, nullptr, nullptr};
        SY_CUDA(cudaEventCreate(&timed.begin));
        timed_.push_back(timed);
        SY_CUDA(cudaEventCreate(&timed_.back().end));
        SY_CUDA(cudaEventRecord(timed.begin, stream.get()));
    }
    return methods_[method];
}

void FirstUses::end(CudaStream& stream) {
    if (chosen_ || num_uses_ == kRounds * methods_.size()) return;
    if (is_timing()) SY_CUDA(cudaEventRecord(timed_.back().end, stream.get()));
    ++num_uses_;
}

/// Once all timed uses are done; until then the host goes on with the first method.
void FirstUses::choose() {
    for (const Timed& timed : timed_) {
        const cudaError_t status = cudaEventQuery(timed.end);
        if (status == cudaErrorNotReady) return;
        check(status, "cudaEventQuery");
    }
    for (const Timed& timed : timed_) {
        float milliseconds = 0.0F;
        SY_CUDA(cudaEventElapsedTime(&milliseconds, timed.begin, timed.end));
        float& best = best_ms_[timed.method];
        best = best == 0.0F ? milliseconds : std::min(best, milliseconds);
    }
    chosen_ = methods_[static_cast<std::size_t>(std::ranges::min_element(best_ms_) - best_ms_.begin())];
}

std::string FirstUses::times() const {
    if (!chosen_ || methods_.size() == 1) return {};
    std::ostringstream text;
    for (std::size_t method = 0; method < methods_.size(); ++method)
        text << (method == 0 ? "" : ", ") << group_method_name(methods_[method]) << " " << best_ms_[method]
             << " ms";
    return text.str();
}

FirstUses& GroupMethods::of(const GroupSize& size) {
    const auto found = uses_.find(size);
    if (found != uses_.end()) return found->second;
    return uses_.try_emplace(size, methods_for(size, fixed_)).first->second;
}

std::string GroupMethods::notes() const {
    std::string text;
    for (const auto& [size, uses] : uses_) {
        const std::string times = uses.times();
        if (times.empty()) continue;
        text += concat(text.empty() ? "" : "\n", "groups of about ", size.num_products, " products in ",
                       size.is_bf16 ? "bf16" : "f32", size.by_library ? "" : " by own kernels", ", in all ",
                       size.num_m, " x ", size.num_n, " x ", size.num_k, ": ",
                       group_method_name(*uses.chosen()), " (", times, ")");
    }
    return text;
}

}  // namespace sy::cuda
