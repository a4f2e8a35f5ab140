#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/exchange/exchange.hpp"
#include "model/moe/moe_layer.hpp"

/// A whole mixture layer on one rank, of any device, and whether what it computes is right.
namespace sy::runtime::bench {

struct LayerShape {
    const char* name;
    index_t experts, top_k, shared, width;
    index_t tokens = 4096;
    index_t hidden = 512;
    index_t sequence = 256;

    /// Operations of its matrix products, forward.
    double forward_flops() const;
};

/// Values of a device, f32 or bf16, row by row.
std::vector<double> read_doubles(ConstTensorRef values, const Context& context);

/// Matrices of a gated expert in double, row by row: gate and up [H, F], down [F, H].
struct DoubleExpert {
    std::vector<double> gate, up, down;

    /// (silu(x gate) * (x up)) down of one row x.
    std::vector<double> output(const std::vector<double>& x) const;
};

/// The layer, built as a model would build it. Its router has no losses, so that a token's gradient is its own.
class BenchLayer {
  public:
    /// @param world  of one rank, which outlives it
    BenchLayer(const Context& context, comm::Communicator& world, const LayerShape& shape, DType dtype);

    /// One pass; backward takes the input itself as the output's gradient.
    void run(model::Tape::Mode mode);
    /// Tokens of each expert in the last pass.
    const std::vector<index_t>& load() const { return load_; }

    /// Largest error of some tokens' outputs against the layer in double, over the largest output.
    double forward_error() const;
    /// The input's gradient of some tokens along a random direction, against central differences of the layer in double.
    double backward_error() const;

  private:
    std::vector<index_t> sampled() const { return {0, shape_.tokens / 3, shape_.tokens - 1}; }
    std::vector<double> row_of(ConstTensorRef values, index_t row) const;
    std::vector<double> weights(const std::string& name, index_t first, index_t count) const;
    std::vector<double> reference(const std::vector<double>& x) const;
    DoubleExpert expert(const std::string& prefix, index_t width, index_t expert_idx) const;

    LayerShape shape_;
    Context context_;
    model::ModelConfig config_;
    model::MoeConfig moe_;
    std::unique_ptr<comm::Exchange> exchange_;
    model::ModelWorld ranks_;
    model::Parameters parameters_;
    model::LayerContext shared_;
    model::MoeLayer layer_;
    Tensor input_;
    Tensor output_;
    Tensor gradient_;
    std::vector<index_t> load_;
};

}  // namespace sy::runtime::bench
