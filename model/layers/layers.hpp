#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/norm/norm.hpp"
#include "model/autograd/tape.hpp"
#include "model/config.hpp"
#include "model/parameters/parameters.hpp"
#include "model/pass.hpp"

/// The layers of a decoder. Each is built once (registering its parameters), then called with a tape.
namespace sy::model {

/// What layers share: borrowed from the transformer, which outlives them.
struct LayerContext {
    const ModelConfig& config;
    Parameters& parameters;
    /// Called in backward when the gradients of a parameter are complete for this pass.
    std::function<void(ParameterId)> gradient_ready;
};

/// Standard deviation of the weights that write to the residual stream: smaller by the root of the number of such
/// writes (GPT-2's rule).
float output_deviation(const ModelConfig& config);

/// Whether something has a bias.
enum class Bias { none, added };

/// RMSNorm or LayerNorm of x, or of a running sum: the residual stream x becomes x + delta on the way.
class NormLayer {
  public:
    NormLayer(LayerContext& shared, const std::string& name);

    /// @param delta  output of the previous sub-layer, added to `stream` first; null for none
    struct Result {
        Value* stream;  ///< [T, H] the residual stream after the addition
        Value* normed;  ///< [T, H]
    };
    Result forward(Tape& tape, Value& stream, Value* delta, const PassInfo& pass) const;

  private:
    ops::Norm norm() const;
    ops::NormGradients gradients() const;

    LayerContext& shared_;
    ParameterId gain_;
    ParameterId bias_ = -1;
};

/// Dense feed-forward with model.activation; also the shared experts of a mixture, which are one wide feed-forward.
/// Its matrices are NAME.gate (if gated), NAME.up and NAME.down, its biases NAME.up_bias and so on.
class FeedForward {
  public:
    struct Spec {
        index_t width = 0;
        Bias bias = Bias::none;
    };
    FeedForward(LayerContext& shared, const std::string& name, const Spec& spec);

    /// Adds to nothing: out is overwritten. `saved` keeps what backward needs.
    struct Saved {
        Tensor input;  ///< bf16 rows, empty in a float32 model
        Tensor gate;
        Tensor up;
    };
    Saved apply(MatrixView<const float> x, MatrixView<float> out, bool keep, const Context& context) const;
    /// dx [T, H] is overwritten.
    void backward(MatrixView<const float> x, const Saved& saved, MatrixView<const float> dy,
                  MatrixView<float> dx, const PassInfo& pass, const Context& context) const;
    Value& forward(Tape& tape, Value& x, const PassInfo& pass) const;

  private:
    template <class In>
    Saved run(MatrixView<const float> x, MatrixView<float> out, bool keep, const Context& context) const;
    template <class In>
    void run_backward(MatrixView<const float> x, const Saved& saved, MatrixView<const float> dy,
                      MatrixView<float> dx, const PassInfo& pass, const Context& context) const;

    template <class In>
    ops::ExpertWeights<In> weights() const;
    ops::ExpertBiasGradients bias_gradients() const;

    LayerContext& shared_;
    ParameterId gate_ = -1;
    ParameterId up_;
    ParameterId down_;
    ParameterId gate_bias_ = -1;
    ParameterId up_bias_ = -1;
    ParameterId down_bias_ = -1;
};

/// What a head measures of the rows that count: target -1 is one that does not.
struct HeadLoss {
    std::span<const std::int32_t> target;  ///< [T]
    float scale = 0.0F;                    ///< weight of a token in the total loss
    std::span<float> loss;                 ///< [T] receives the cross entropy of each token
    float z_scale = 0.0F;                  ///< weight of a token's squared logsumexp in the total loss
    std::span<float> lse{};  ///< [T] receives the logsumexp of each token's logits; empty: not wanted
};

/// Projection to the vocabulary and cross entropy, a few rows at a time: logits of all tokens never exist together.
class Head {
  public:
    /// @param tied  the embedding [V, H] to use instead of an own matrix [H, V]; or -1
    Head(LayerContext& shared, ParameterId tied);

    /// With a recording tape x.grad and the weight's gradient are computed at once.
    /// @param x  [T, H], after the last norm
    void forward(Tape& tape, Value& x, const HeadLoss& loss, const PassInfo& pass) const;
    /// logits [B, V]
    void logits(MatrixView<const float> x, MatrixView<float> out, const Context& context) const;

  private:
    template <class In>
    void run(Tape& tape, Value& x, const HeadLoss& loss, const PassInfo& pass) const;

    LayerContext& shared_;
    bool tied_;
    ParameterId weight_;
};

}  // namespace sy::model
