#include "kernels/cuda/cudnn_graph.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "kernels/cuda/error.hpp"

namespace sy::cuda {
namespace {

constexpr std::int64_t kOperandAlignment = 16;
constexpr index_t kMostEngines = 32;

void check(const CudnnFunctions& functions, cudnnStatus_t status, const std::string& what) {
    if (status == CUDNN_STATUS_SUCCESS) return;
    std::array<char, 1024> details{};
    functions.get_last_error_string(details.data(), details.size());
    throw CudaError(concat("cuda: cuDNN, ", what, ": ", functions.get_error_string(status), " (",
                           static_cast<int>(status), "): ", details.data()));
}

CudnnDescriptor describe(const CudnnFunctions& functions, std::int64_t id, const CudnnTensor& tensor) {
    CudnnDescriptor descriptor(functions, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, id);
    descriptor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, tensor.type);
    descriptor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kOperandAlignment);
    descriptor.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64,
                   std::span<const std::int64_t>(tensor.sides));
    descriptor.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64,
                   std::span<const std::int64_t>(tensor.strides));
    return descriptor;
}

}  // namespace

CudnnDescriptor::CudnnDescriptor(const CudnnFunctions& functions, cudnnBackendDescriptorType_t type)
    : functions_(&functions) {
    check(functions, functions.create_descriptor(type, &descriptor_),
          concat("a descriptor of type ", static_cast<int>(type)));
}

CudnnDescriptor::CudnnDescriptor(CudnnDescriptor&& other) noexcept
    : functions_(other.functions_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}

CudnnDescriptor::~CudnnDescriptor() {
    // It was created, so that there is nothing to refuse.
    if (descriptor_ != nullptr) static_cast<void>(functions_->destroy_descriptor(descriptor_));
}

void CudnnDescriptor::set_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                index_t count, const void* values) {
    check(*functions_, functions_->set_attribute(descriptor_, name, type, count, values),
          concat("setting attribute ", static_cast<int>(name)));
}

index_t CudnnDescriptor::get_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                   index_t count, void* values) const {
    std::int64_t found = 0;
    check(*functions_, functions_->get_attribute(descriptor_, name, type, count, &found, values),
          concat("reading attribute ", static_cast<int>(name)));
    return found;
}

void CudnnDescriptor::finalize(const std::string& what) {
    check(*functions_, functions_->finalize(descriptor_), what);
}

CudnnGraph::Tensor CudnnGraph::operand(std::int64_t id, const CudnnTensor& tensor) {
    tensors_.push_back(describe(functions_, id, tensor));
    tensors_.back().finalize(concat("operand ", id));
    return tensors_.back().get();
}

CudnnGraph::Tensor CudnnGraph::number(std::int64_t id, cudnnDataType_t type, std::size_t rank) {
    const std::vector<std::int64_t> ones(rank, 1);
    tensors_.push_back(describe(functions_, id, {ones, ones, type}));
    tensors_.back().set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, true);
    tensors_.back().finalize(concat("number ", id));
    return tensors_.back().get();
}

CudnnGraph::Tensor CudnnGraph::inner(const CudnnTensor& tensor) {
    tensors_.push_back(describe(functions_, next_inner_, tensor));
    tensors_.back().set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, true);
    tensors_.back().finalize(concat("inner tensor ", next_inner_));
    ++next_inner_;
    return tensors_.back().get();
}

void CudnnGraph::multiply(Tensor a, Tensor b, Tensor c) {
    parts_.emplace_back(functions_, CUDNN_BACKEND_MATMUL_DESCRIPTOR);
    parts_.back().set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    parts_.back().finalize("a product's type");
    CudnnDescriptor operation(functions_, CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_DESC, parts_.back().get());
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
    operation.set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c);
    add(std::move(operation), "a product");
}

CudnnDescriptor CudnnGraph::pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t math) {
    CudnnDescriptor descriptor(functions_, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    descriptor.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode);
    descriptor.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, math);
    return descriptor;
}

void CudnnGraph::map(cudnnPointwiseMode_t mode, Tensor x, Tensor y) {
    parts_.push_back(pointwise(mode, CUDNN_DATA_FLOAT));
    add_pointwise(std::array{x}, y);
}

void CudnnGraph::combine(cudnnPointwiseMode_t mode, Tensor x, Tensor b, Tensor y) {
    parts_.push_back(pointwise(mode, CUDNN_DATA_FLOAT));
    add_pointwise(std::array{x, b}, y);
}

void CudnnGraph::index_along(index_t axis, Tensor x, Tensor y) {
    parts_.push_back(pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32));
    parts_.back().set(CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis);
    add_pointwise(std::array{x}, y);
}

void CudnnGraph::select(Tensor condition, Tensor x, Tensor b, Tensor y) {
    parts_.push_back(pointwise(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT));
    add_pointwise(std::array{x, b, condition}, y);
}

/// Of the mode that was described last.
void CudnnGraph::add_pointwise(std::span<const Tensor> inputs, Tensor y) {
    constexpr std::array kInputs{CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                                 CUDNN_ATTR_OPERATION_POINTWISE_TDESC};
    parts_.back().finalize("the mode of an operation on elements");
    CudnnDescriptor operation(functions_, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, parts_.back().get());
    for (std::size_t i = 0; i < inputs.size(); ++i) operation.set(kInputs[i], inputs[i]);
    operation.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    add(std::move(operation), "an operation on elements");
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t mode, Tensor x, Tensor y) {
    parts_.emplace_back(functions_, CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
    parts_.back().set(CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, mode);
    parts_.back().set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    parts_.back().finalize("the mode of a reduction");
    CudnnDescriptor operation(functions_, CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
    operation.set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, parts_.back().get());
    operation.set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
    operation.set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
    add(std::move(operation), "a reduction");
}

void CudnnGraph::add(CudnnDescriptor operation, const std::string& what) {
    operation.finalize(what);
    operations_.push_back(std::move(operation));
}

CudnnPlan CudnnGraph::plan(cudnnBackendDescriptor_t device_properties) {
    CudnnDescriptor graph(functions_, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    std::vector<cudnnBackendDescriptor_t> operations;
    for (const CudnnDescriptor& operation : operations_) operations.push_back(operation.get());
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
              std::span<const cudnnBackendDescriptor_t>(operations));
    graph.finalize("a graph of operations");

    CudnnDescriptor heuristics(functions_, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.get());
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, CUDNN_HEUR_MODE_A);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device_properties);
    heuristics.finalize("the engines for a graph");
    std::deque<CudnnDescriptor> engines;
    std::vector<cudnnBackendDescriptor_t> results;
    for (index_t i = 0; i < kMostEngines; ++i) {
        engines.emplace_back(functions_, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        results.push_back(engines.back().get());
    }
    const index_t num_engines = heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                               std::span<cudnnBackendDescriptor_t>(results));
    std::string refusals;
    for (index_t i = 0; i < std::min(num_engines, kMostEngines); ++i) {
        CudnnDescriptor plan(functions_, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, results[static_cast<std::size_t>(i)]);
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device_properties);
        try {
            plan.finalize("a plan");
        } catch (const CudaError& error) {
            refusals += concat("\n  ", error.what());
            continue;
        }
        index_t workspace_bytes = 0;
        plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, std::span(&workspace_bytes, 1));
        return {std::move(plan), workspace_bytes, i};
    }
    throw CudaError(concat("cuda: cuDNN has no engine for a graph of ", operations.size(), " operations; ",
                           num_engines, " were proposed", refusals));
}

}  // namespace sy::cuda
