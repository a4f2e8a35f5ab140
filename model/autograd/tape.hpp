#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/core/context.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/core/write.hpp"

namespace sy::model {

/// An activation [T, H] f32 and, in the backward pass, its gradient. A layer is done with its output's gradient before it
/// adds to its input's: on a residual stream that is not normed first, both are one tensor.
struct Value {
    Tensor data;
    Tensor grad;
    /// A summand of a sum has the sum's gradient: it is read from there instead of being copied.
    Value* grad_owner = nullptr;

    /// Room for a consumer's gradient, and what to do there: the first overwrites.
    Write open_gradient(const Context& context) {
        if (!grad.empty()) return Write::add;
        grad = Tensor(context.device, DType::f32, data.shape());
        return Write::overwrite;
    }
    /// Adds a consumer's gradient; the first is taken over.
    void add_gradient(Tensor fresh, const Context& context);
    TensorRef ref() { return data; }
    ConstTensorRef grad_ref() const { return grad_owner != nullptr ? grad_owner->grad : grad; }
};

/// What an operation does in the backward pass, with the tensors it kept. Move-only, so that it can own tensors.
class BackwardStep {
  public:
    virtual ~BackwardStep() = default;
    virtual void run() = 0;
};

/// A forward pass as a list of backward steps, run in reverse. A step's values and kept tensors are freed as soon as
/// it has run, so activations shrink as the tape unwinds. A tape that does not record keeps values only (evaluation).
class Tape {
  public:
    enum class Mode { record, forward_only };

    Tape(Mode mode, const Context& context) : mode_(mode), context_(context) {}
    Tape(const Tape&) = delete;
    Tape& operator=(const Tape&) = delete;

    bool recording() const { return mode_ == Mode::record; }
    const Context& context() const { return context_; }

    /// A new value of [rows, cols] float32; lives until the step that is recorded next has run backward.
    Value& value(index_t rows, index_t cols);

    /// Appends a step; `backward` is any callable, kept with what it captured. Without recording it is dropped.
    template <class Backward>
    void record(Backward backward) {
        if (!recording()) return;
        steps_.push_back({std::make_unique<Step<Backward>>(std::move(backward)), num_recorded_values_});
        num_recorded_values_ = values_.size();
    }

    /// Runs all steps, last first. The gradient of the last values must have been set.
    void backward();

  private:
    template <class Backward>
    class Step : public BackwardStep {
      public:
        explicit Step(Backward backward) : backward_(std::move(backward)) {}
        void run() override { backward_(); }

      private:
        Backward backward_;
    };
    struct Entry {
        std::unique_ptr<BackwardStep> step;
        std::size_t first_value;
    };

    Mode mode_;
    const Context& context_;
    std::deque<Value> values_;
    std::vector<Entry> steps_;
    std::size_t num_recorded_values_ = 0;
};

}  // namespace sy::model
