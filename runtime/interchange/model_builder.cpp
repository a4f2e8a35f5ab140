#include "runtime/interchange/model_builder.hpp"

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime {

ForeignPart whole_matrix(const std::string& ours, const Shape& shape, index_t matrix,
                         Orientation orientation) {
    const MatrixShape size = matrix_shape(shape);
    return {.tensor = ours,
            .matrix = matrix,
            .rows = {0, size.rows},
            .cols = {0, size.cols},
            .orientation = orientation};
}

const Shape& ModelBuilder::shape(const std::string& ours) const {
    const auto found = ours_.find(ours);
    SY_REQUIRE(found != ours_.end(), "interchange: the model has no tensor ", ours);
    return found->second;
}

ForeignTensor& ModelBuilder::begin(const std::string& name, const Shape& shape) {
    return model_.tensors.emplace_back(ForeignTensor{.name = name, .shape = shape, .parts = {}});
}

ForeignPart& ModelBuilder::same(const std::string& name, const std::string& ours) {
    ForeignTensor& tensor = begin(name, shape(ours));
    return tensor.parts.emplace_back(whole_matrix(ours, shape(ours), 0, Orientation::same));
}

ForeignPart& ModelBuilder::transposed(const std::string& name, const std::string& ours, index_t matrix) {
    const MatrixShape size = matrix_shape(shape(ours));
    ForeignTensor& tensor = begin(name, Shape{size.cols, size.rows});
    return tensor.parts.emplace_back(whole_matrix(ours, shape(ours), matrix, Orientation::transposed));
}

void ModelBuilder::transposed_experts(const std::string& name, const std::string& ours) {
    const MatrixShape size = matrix_shape(shape(ours));
    ForeignTensor& tensor = begin(name, Shape{size.matrices, size.cols, size.rows});
    for (index_t expert = 0; expert < size.matrices; ++expert) {
        ForeignPart part = whole_matrix(ours, shape(ours), expert, Orientation::transposed);
        part.foreign_row = expert * size.cols;
        tensor.parts.push_back(std::move(part));
    }
}

ForeignTensor& ModelBuilder::constant(const std::string& name, const Shape& shape, float value) {
    ForeignTensor& tensor = begin(name, shape);
    const ForeignSize size = foreign_size(shape);
    if (shape.num_elements() > 0) {
        tensor.parts.push_back({.source = ForeignPart::Source::constant,
                                .rows = {0, size.rows},
                                .cols = {0, size.cols},
                                .addend = value});
    }
    return tensor;
}

void ModelBuilder::router_state(const std::string& name, const std::string& router, index_t length) {
    ForeignTensor& tensor = begin(name, Shape{length});
    tensor.keep_f32 = true;
    tensor.parts.push_back(
        {.source = ForeignPart::Source::router_state, .tensor = router, .rows = {0, 1}, .cols = {0, length}});
}

}  // namespace sy::runtime
