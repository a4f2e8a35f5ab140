#pragma once

#include <cudnn.h>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/types.hpp"
#include "kernels/cuda/cudnn_functions.hpp"

/// Graphs of operations that cuDNN fuses into one kernel, by its backend API.
/// @par Source  NVIDIA cuDNN backend API, cudnn_graph.h
namespace sy::cuda {

/// A descriptor of the backend API. The table of functions is borrowed.
class CudnnDescriptor {
  public:
    /// @throws CudaError with cuDNN's own words, as all of the members
    CudnnDescriptor(const CudnnFunctions& functions, cudnnBackendDescriptorType_t type);
    CudnnDescriptor(CudnnDescriptor&& other) noexcept;
    CudnnDescriptor& operator=(CudnnDescriptor&&) = delete;
    ~CudnnDescriptor();

    cudnnBackendDescriptor_t get() const { return descriptor_; }
    template <class Value>
    void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
             std::span<const Value> values) {
        set_bytes(name, type, static_cast<index_t>(values.size()), values.data());
    }
    template <class Value>
    void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const Value& value) {
        set_bytes(name, type, 1, &value);
    }
    void set(cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value) {
        set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value);
    }
    /// @param what  that is described, for messages
    void finalize(const std::string& what);
    /// @return how many values there are; at most so many as there is room for were written
    template <class Value>
    index_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                std::span<Value> values) const {
        return get_bytes(name, type, static_cast<index_t>(values.size()), values.data());
    }

  private:
    void set_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, index_t count,
                   const void* values);
    index_t get_bytes(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, index_t count,
                      void* values) const;

    const CudnnFunctions* functions_;
    cudnnBackendDescriptor_t descriptor_ = nullptr;
};

/// Sides, strides and type of a tensor of a graph.
struct CudnnTensor {
    std::vector<std::int64_t> sides;
    std::vector<std::int64_t> strides;
    cudnnDataType_t type = CUDNN_DATA_BFLOAT16;
};

/// How a graph is computed on a kind of GPU.
struct CudnnPlan {
    CudnnDescriptor descriptor;
    index_t workspace_bytes = 0;
    index_t num_refused = 0;  ///< engines that cuDNN proposed before this one, and then did not take
};

/// A graph under construction. A tensor is named by its descriptor, which the graph owns.
class CudnnGraph {
  public:
    using Tensor = cudnnBackendDescriptor_t;

    explicit CudnnGraph(const CudnnFunctions& functions) : functions_(functions) {}

    /// An operand in device memory, whose address is given under `id` when the plan runs. Rows of it begin at multiples of 16
    /// bytes.
    Tensor operand(std::int64_t id, const CudnnTensor& tensor);
    /// A number of the host's, given under `id` when the plan runs, as a tensor of `rank` sides of one.
    Tensor number(std::int64_t id, cudnnDataType_t type, std::size_t rank);
    /// What stays inside the kernel.
    Tensor inner(const CudnnTensor& tensor);

    void multiply(Tensor a, Tensor b, Tensor c);
    /// y = mode(x)
    void map(cudnnPointwiseMode_t mode, Tensor x, Tensor y);
    /// y = mode(x, b), with sides of one repeated
    void combine(cudnnPointwiseMode_t mode, Tensor x, Tensor b, Tensor y);
    /// y = the index of each element along an axis
    void index_along(index_t axis, Tensor x, Tensor y);
    /// y = condition ? x : b
    void select(Tensor condition, Tensor x, Tensor b, Tensor y);
    void reduce(cudnnReduceTensorOp_t mode, Tensor x, Tensor y);
    /// Any other operation, with its attributes set.
    void add(CudnnDescriptor operation, const std::string& what);

    /// Plans for the GPU that a descriptor of device properties describes: the first of the engines that cuDNN proposes and
    /// then takes.
    /// @throws CudaError with cuDNN's own words when it has no engine for the graph
    CudnnPlan plan(cudnnBackendDescriptor_t device_properties);

  private:
    CudnnDescriptor pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t math);
    void add_pointwise(std::span<const Tensor> inputs, Tensor y);

    const CudnnFunctions& functions_;
    std::int64_t next_inner_ = 1000;
    std::deque<CudnnDescriptor> tensors_;
    std::deque<CudnnDescriptor> parts_;
    std::deque<CudnnDescriptor> operations_;
};

}  // namespace sy::cuda
