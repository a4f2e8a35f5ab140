#include "kernels/core/profile.hpp"

#include "kernels/core/error.hpp"

namespace sy {
namespace {

std::size_t at(OpKind kind) {
    return static_cast<std::size_t>(kind);
}

}  // namespace

std::string_view op_kind_name(OpKind kind) {
    constexpr std::array<std::string_view, kOpKinds.size()> kNames{
        "matrix products", "normalisation", "softmax and loss", "elementwise", "routing", "optimizer"};
    return kNames[at(kind)];
}

Profile::Entry Profile::entry(OpKind kind) const {
    return entries_[at(kind)];
}

void Profile::clear() {
    SY_REQUIRE(!inside_, "profile: cleared inside an operation");
    entries_ = {};
}

void Profile::add_product(std::chrono::nanoseconds time, std::int64_t flops) {
    product_ns_.fetch_add(time.count(), std::memory_order_relaxed);
    product_flops_.fetch_add(flops, std::memory_order_relaxed);
}

Timed::Timed(const Context& context, OpKind kind, double flops)
    : profile_(context.profile), kind_(kind), flops_(flops), team_size_(context.device.num_threads()) {
    if (profile_ == nullptr) return;
    if (profile_->inside_) {
        profile_ = nullptr;
        return;
    }
    profile_->inside_ = true;
    product_ns_ = profile_->product_ns_.load(std::memory_order_relaxed);
    product_flops_ = profile_->product_flops_.load(std::memory_order_relaxed);
    start_ = std::chrono::steady_clock::now();
}

Timed::~Timed() {
    if (profile_ == nullptr) return;
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - start_;
    const auto thread_ns =
        static_cast<double>(profile_->product_ns_.load(std::memory_order_relaxed) - product_ns_);
    const double product_seconds = 1e-9 * thread_ns / team_size_;
    Profile::Entry& product = profile_->entries_[at(OpKind::product)];
    product.seconds += product_seconds;
    product.flops +=
        static_cast<double>(profile_->product_flops_.load(std::memory_order_relaxed) - product_flops_);
    Profile::Entry& own = profile_->entries_[at(kind_)];
    own.seconds += all.count() - product_seconds;
    own.flops += flops_;
    profile_->inside_ = false;
}

}  // namespace sy
