#include "model/autograd/tape.hpp"

#include <utility>

#include "kernels/ops/reduce/reduce.hpp"

namespace sy::model {

void Value::add_gradient(Tensor fresh, const Context& context) {
    if (grad.empty()) {
        grad = std::move(fresh);
    } else {
        ops::add(fresh, grad, context);
    }
}

Value& Tape::value(index_t rows, index_t cols) {
    Value& fresh = values_.emplace_back();
    fresh.data = Tensor(context_.device, DType::f32, {rows, cols});
    return fresh;
}

void Tape::backward() {
    SY_REQUIRE(recording(), "tape: backward of a pass that was not recorded");
    while (!steps_.empty()) {
        Entry entry = std::move(steps_.back());
        steps_.pop_back();
        entry.step->run();
        entry.step.reset();
        values_.resize(entry.first_value);
    }
    num_recorded_values_ = 0;
}

}  // namespace sy::model
