#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/gradient_sync/bucket_plan.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/gradient.hpp"
#include "kernels/core/tensor.hpp"

/// Parameters: logical name, global shape, who owns what, initialiser. The only place that knows what is sharded how.
/// Weights of products are stored [in, out]; expert weights [E, in, out].
namespace sy::model {

enum class Sharding {
    replicated,  ///< every rank holds all of it; optimizer state is dealt over all ranks
    expert,  ///< dimension 0 counts experts; a rank holds those placed on it; replicas share optimizer state
};

enum class Init { normal, ones, zeros };

struct ParameterSpec {
    std::string name;  ///< logical: "layers.3.moe.experts.gate"
    Shape shape;       ///< global: [H], [in, out] or [E, in, out]
    Sharding sharding = Sharding::replicated;
    Init init = Init::normal;
    float deviation = 0.02F;
    bool weight_decay = true;
};

/// One matrix of a parameter as held by this rank: the unit of gradients, checksums and checkpoint pieces.
struct LocalMatrix {
    index_t parameter = 0;   ///< index into specs()
    index_t global_idx = 0;  ///< expert number for expert parameters, else 0
    comm::FlatMatrix place;  ///< in the flat arrays of its group; a [H] vector is one row of H
};

/// The weights of one sharding group in one flat array, with gradients beside them. `weights` are the float32
/// originals, whole on every rank that holds the matrices; a bf16 model multiplies with `working`, their rounded
/// copy. Optimizer moments exist only on the owner of a row (see comm/gradient_sync).
struct FlatGroup {
    std::vector<LocalMatrix> matrices;
    index_t num_elements = 0;
    Tensor weights;         ///< [num_elements] f32
    Tensor working;         ///< [num_elements] bf16, or empty
    Tensor gradient;        ///< [num_elements] f32, or empty in reproducible mode
    Tensor gradient_fixed;  ///< [num_elements] i64, or empty in fast mode
};

using ParameterId = index_t;

class Parameters {
  public:
    /// @param local_experts  global numbers of the experts on this rank, ascending
    Parameters(std::vector<index_t> local_experts, DType compute, const Context& context);

    /// Registers a parameter; all before allocate(). Names are unique. Order of registration is flat order.
    ParameterId add(ParameterSpec spec);
    /// Creates the flat arrays, and fills them by name and global index, so that values do not depend on the layout.
    void allocate(std::uint64_t seed);

    std::span<const ParameterSpec> specs() const { return specs_; }
    FlatGroup& group(Sharding sharding);
    const FlatGroup& group(Sharding sharding) const;
    std::span<const index_t> local_experts() const { return local_experts_; }
    const Context& context() const { return context_; }

    /// Float32 or bf16 view of a replicated parameter. [rows, cols]
    template <class T>
    MatrixView<const T> weight(ParameterId id) const;
    /// All local experts of an expert parameter, [L, in, out].
    template <class T>
    TensorView3<const T> expert_weight(ParameterId id) const;
    /// Gradient of matrix `local_idx` (0, or the local expert number) of a parameter.
    GradientView gradient(ParameterId id, index_t local_idx = 0);
    /// Position of the first matrix of a parameter in its group.
    index_t first_matrix(ParameterId id) const { return first_matrix_[static_cast<std::size_t>(id)]; }
    /// Set when a fixed-point gradient went out of range in this step; reset by zero_gradients().
    bool overflowed() const { return overflow_; }
    void zero_gradients();
    /// Rounds the weights into their bf16 copy after they changed; nothing to do in a float32 model.
    void refresh_working();

  private:
    std::vector<index_t> local_experts_;
    DType compute_;
    const Context& context_;
    std::vector<ParameterSpec> specs_;
    std::vector<index_t> first_matrix_;
    FlatGroup replicated_;
    FlatGroup expert_;
    bool overflow_ = false;
};

}  // namespace sy::model
