#pragma once

#include "runtime/interchange/foreign_model.hpp"

namespace sy::runtime {

/// Makes a foreign model, a tensor a call. Names of ours that are not there give a problem at the end, as do values that
/// no call has placed (layout_problems).
class ModelBuilder {
  public:
    explicit ModelBuilder(const std::map<std::string, Shape>& ours) : ours_(ours) {}

    bool has(const std::string& ours) const { return ours_.contains(ours); }
    /// The shape of one of our tensors. @throws LogicError when there is none
    const Shape& shape(const std::string& ours) const;

    /// Begins a foreign tensor; parts are added to it.
    ForeignTensor& begin(const std::string& name, const Shape& shape);

    /// [n] or [rows, cols] as ours. @return its part, to change addend, factor or order
    ForeignPart& same(const std::string& name, const std::string& ours);
    /// [out, in] of our matrix [in, out].
    ForeignPart& transposed(const std::string& name, const std::string& ours, index_t matrix = 0);
    /// [E, out, in] of our experts [E, in, out].
    void transposed_experts(const std::string& name, const std::string& ours);
    /// A tensor of one value.
    ForeignTensor& constant(const std::string& name, const Shape& shape, float value);
    /// [E] numbers that a router carries from step to step.
    void router_state(const std::string& name, const std::string& router, index_t length);

    ForeignModel take() { return std::move(model_); }

  private:
    const std::map<std::string, Shape>& ours_;
    ForeignModel model_;
};

/// A part that holds a whole matrix of ours.
ForeignPart whole_matrix(const std::string& ours, const Shape& shape, index_t matrix,
                         Orientation orientation);

}  // namespace sy::runtime
