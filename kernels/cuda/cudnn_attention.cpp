#include "kernels/cuda/cudnn_attention.hpp"

#include <utility>

namespace sy::cuda {
namespace {

/// A matrix of rows, [B * rows, heads * width], as cuDNN sees it: [B, heads, rows, width].
CudnnTensor by_head(index_t sequences, index_t heads, index_t rows, index_t width, cudnnDataType_t type) {
    return {{sequences, heads, rows, width}, {rows * heads * width, width, heads * width, 1}, type};
}

CudnnTensor transposed(CudnnTensor tensor) {
    std::swap(tensor.sides[2], tensor.sides[3]);
    std::swap(tensor.strides[2], tensor.strides[3]);
    return tensor;
}

/// [B, heads, Sq, width] inside the kernel.
CudnnTensor inside(const CudnnAttentionShape& shape, index_t width, cudnnDataType_t type) {
    const index_t rows = shape.seq_len;
    return {{shape.num_sequences, shape.heads, rows, width},
            {shape.heads * rows * width, rows * width, width, 1},
            type};
}

constexpr std::int64_t id_of(CudnnAttentionOperand operand) {
    return static_cast<std::int64_t>(operand);
}

/// What is done with scores, one operation after the other.
class Scores {
  public:
    Scores(CudnnGraph& graph, const CudnnAttentionShape& shape) : graph_(graph), shape_(shape) {}

    CudnnGraph::Tensor scores(cudnnDataType_t type = CUDNN_DATA_FLOAT) {
        return graph_.inner(inside(shape_, shape_.key_len, type));
    }
    CudnnGraph::Tensor row() { return graph_.inner(inside(shape_, 1, CUDNN_DATA_FLOAT)); }

    CudnnGraph::Tensor mapped(cudnnPointwiseMode_t mode, CudnnGraph::Tensor x, CudnnGraph::Tensor y) {
        graph_.map(mode, x, y);
        return y;
    }
    CudnnGraph::Tensor combined(cudnnPointwiseMode_t mode, CudnnGraph::Tensor x, CudnnGraph::Tensor b,
                                CudnnGraph::Tensor y) {
        graph_.combine(mode, x, b, y);
        return y;
    }
    CudnnGraph::Tensor reduced(cudnnReduceTensorOp_t mode, CudnnGraph::Tensor x) {
        const CudnnGraph::Tensor y = row();
        graph_.reduce(mode, x, y);
        return y;
    }
    /// Scores of keys that the query sees, and `hidden` of the others.
    CudnnGraph::Tensor masked(CudnnGraph::Tensor x) {
        if (shape_.mask == CudnnAttentionShape::Mask::none) return x;
        const CudnnGraph::Tensor query = scores(CUDNN_DATA_INT32);
        const CudnnGraph::Tensor key = scores(CUDNN_DATA_INT32);
        const CudnnGraph::Tensor hidden =
            graph_.number(id_of(CudnnAttentionOperand::hidden), CUDNN_DATA_FLOAT, 4);
        graph_.index_along(2, x, query);
        graph_.index_along(3, x, key);
        const CudnnGraph::Tensor not_later =
            combined(CUDNN_POINTWISE_CMP_GE, query, key, scores(CUDNN_DATA_BOOLEAN));
        CudnnGraph::Tensor seen = scores();
        graph_.select(not_later, x, hidden, seen);
        if (shape_.window == 0) return seen;
        const CudnnGraph::Tensor width =
            graph_.number(id_of(CudnnAttentionOperand::window), CUDNN_DATA_INT32, 4);
        const CudnnGraph::Tensor key_2 = scores(CUDNN_DATA_INT32);
        const CudnnGraph::Tensor query_2 = scores(CUDNN_DATA_INT32);
        graph_.index_along(3, seen, key_2);
        graph_.index_along(2, seen, query_2);
        const CudnnGraph::Tensor last = combined(CUDNN_POINTWISE_ADD, key_2, width, scores(CUDNN_DATA_INT32));
        const CudnnGraph::Tensor near =
            combined(CUDNN_POINTWISE_CMP_GT, last, query_2, scores(CUDNN_DATA_BOOLEAN));
        const CudnnGraph::Tensor in_window = scores();
        graph_.select(near, seen, hidden, in_window);
        return in_window;
    }

  private:
    CudnnGraph& graph_;
    const CudnnAttentionShape& shape_;
};

}  // namespace

CudnnPlan plan_attention(const CudnnFunctions& functions, const CudnnAttentionShape& shape,
                         cudnnBackendDescriptor_t device_properties) {
    using Operand = CudnnAttentionOperand;
    CudnnGraph graph(functions);
    Scores inner(graph, shape);
    const auto operand = [&](Operand id, const CudnnTensor& tensor) {
        return graph.operand(id_of(id), tensor);
    };
    const index_t sequences = shape.num_sequences;
    const auto q = operand(
        Operand::q, by_head(sequences, shape.heads, shape.seq_len, shape.head_dim, CUDNN_DATA_BFLOAT16));
    const auto k = operand(Operand::k, transposed(by_head(sequences, shape.kv_heads, shape.key_len,
                                                          shape.head_dim, CUDNN_DATA_BFLOAT16)));
    const auto v = operand(
        Operand::v, by_head(sequences, shape.kv_heads, shape.key_len, shape.value_dim, CUDNN_DATA_BFLOAT16));
    const auto out = operand(
        Operand::out, by_head(sequences, shape.heads, shape.seq_len, shape.value_dim, CUDNN_DATA_BFLOAT16));
    const auto lse =
        operand(Operand::lse, by_head(sequences, shape.heads, shape.seq_len, 1, CUDNN_DATA_FLOAT));
    const auto scale = graph.number(id_of(Operand::scale), CUDNN_DATA_FLOAT, 4);

    const auto products = inner.scores();
    graph.multiply(q, k, products);
    const auto scores = inner.masked(inner.combined(CUDNN_POINTWISE_MUL, products, scale, inner.scores()));
    const auto largest = inner.reduced(CUDNN_REDUCE_TENSOR_MAX, scores);
    const auto powers =
        inner.mapped(CUDNN_POINTWISE_EXP,
                     inner.combined(CUDNN_POINTWISE_SUB, scores, largest, inner.scores()), inner.scores());
    const auto sums = inner.reduced(CUDNN_REDUCE_TENSOR_ADD, powers);
    const auto logs = inner.mapped(CUDNN_POINTWISE_LOG, sums, inner.row());
    inner.combined(CUDNN_POINTWISE_ADD, largest, logs, lse);
    const auto probabilities =
        inner.combined(CUDNN_POINTWISE_DIV, powers, sums, inner.scores(CUDNN_DATA_BFLOAT16));
    graph.multiply(probabilities, v, out);
    return graph.plan(device_properties);
}

}  // namespace sy::cuda
