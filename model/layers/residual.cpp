#include "model/layers/residual.hpp"

#include "kernels/ops/dropout/dropout.hpp"
#include "kernels/ops/reduce/reduce.hpp"

namespace sy::model {

Value& add_residual(Tape& tape, Value& x, Value* delta) {
    if (delta == nullptr) return x;
    Value& sum = tape.value(x.ref().rows(), x.ref().cols());
    ops::add(x.ref(), delta->ref(), sum.ref(), tape.context());
    tape.record([&x, delta, &sum] {
        x.grad = std::move(sum.grad);
        delta->grad_owner = &x;
    });
    return sum;
}

void join(Tape& tape, Value& x, Value& y) {
    ops::add(y.ref(), x.ref(), tape.context());
    tape.record([&x, &y] { y.grad_owner = x.grad_owner != nullptr ? x.grad_owner : &x; });
}

void drop(Tape& tape, Value& x, double probability, index_t key_idx, const PassInfo& pass) {
    if (probability <= 0.0 || !pass.training()) return;
    const RandomKey key = pass.random(key_idx, RandomPurpose::dropout);
    const auto rate = static_cast<float>(probability);
    const index_t first = pass.batch.first_token;
    const Context& context = tape.context();
    ops::dropout(x.ref(), key, first, rate, x.ref(), context);
    tape.record([&x, &context, key, first, rate] {
        Tensor kept(context.device, DType::f32, x.data.shape());
        ops::dropout(x.grad_ref(), key, first, rate, kept, context);
        x.grad = std::move(kept);
        x.grad_owner = nullptr;
    });
}

}  // namespace sy::model
