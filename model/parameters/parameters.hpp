#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "comm/exchange/placement.hpp"
#include "comm/gradient_sync/bucket_plan.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/gradient_ref.hpp"
#include "kernels/core/indexed.hpp"
#include "kernels/core/tensor.hpp"
#include "model/parameters/blueprint.hpp"

/// The values of parameters (model/parameters/blueprint.hpp says which there are): who owns what, where it lies, how it
/// begins. The only place that knows what is sharded how.
namespace sy::model {

using ParameterId = index_t;
struct ParameterAxis;
template <class T>
using PerParameter = Indexed<ParameterAxis, T>;
template <class T>
using PerParameterSpan = IndexedSpan<ParameterAxis, T>;

/// The values that training begins with, of elements [first, first + size of values) of the whole tensor.
/// @param values  f32
void initial_values(const ParameterSpec& spec, std::uint64_t seed, index_t first, TensorRef values,
                    const Context& context);

/// One matrix of a parameter as held by this rank: the unit of gradients, checksums and checkpoint pieces.
struct LocalMatrix {
    index_t parameter = 0;   ///< index into specs()
    index_t global_idx = 0;  ///< expert number for expert parameters, else 0
    comm::FlatMatrix place;  ///< in the flat arrays of its group; a [H] vector is one row of H
};

/// Where matrices lie in the flat arrays of a group on one rank. Of each parameter first the matrices that this rank
/// shares with its replicas alone, then shadows, whose gradients go to their primary: so all experts of a parameter are
/// one block.
struct FlatLayout {
    Indexed<comm::MatrixAxis, LocalMatrix> matrices;  ///< reduced, updated and saved here (or by a replica)
    std::vector<LocalMatrix> shadows;
    index_t num_elements = 0;  ///< of both
};

/// The expert parameters on rank `group_rank` of the expert-parallel group: a pure function, so that every rank knows
/// what any other holds.
/// @throws LogicError when a layer has no placement, or one of another number of experts
FlatLayout expert_layout(PerParameterSpan<const ParameterSpec> specs, const comm::Placements& placements,
                         int group_rank);

/// The weights of one sharding group in one flat array, with gradients beside them. `weights` are the float32
/// originals, whole on every rank that holds the matrices; a bf16 model multiplies with `working`, their rounded
/// copy (of shadows only that is kept up to date). Optimizer moments exist only on the owner of a row (see
/// comm/gradient_sync).
struct FlatGroup : FlatLayout {
    Tensor weights;         ///< [num_elements] f32
    Tensor working;         ///< [num_elements] bf16, or empty
    Tensor gradient;        ///< [num_elements] f32, or empty in reproducible mode
    Tensor gradient_fixed;  ///< [num_elements] i64, or empty in fast mode
};

class Parameters {
  public:
    /// Lays out the parameters of a blueprint; they have no values before allocate().
    /// @param placements  of every mixture layer; empty in a model without experts
    /// @param group_rank  this rank in the expert-parallel group
    /// @throws LogicError when a name or key comes twice, or an expert parameter's layer has no placement
    Parameters(std::span<const ParameterSpec> specs, comm::Placements placements, int group_rank,
               DType compute, const Context& context);

    /// The parameter of a key. find: -1 where there is none; id: @throws LogicError naming the key
    ParameterId id(const ParameterKey& key) const;
    ParameterId find(const ParameterKey& key) const;
    /// Creates the flat arrays, and fills them by name and global index, so that values do not depend on the layout.
    void allocate(std::uint64_t seed);
    /// Creates the weights without values, for a model that does not learn: it has no gradients. Who fills them calls
    /// refresh_working().
    void allocate_weights();
    /// Lays out the expert parameters for other placements. Their new weights are not initialised, gradients are zero.
    /// @return the old layout with its float32 weights
    /// @par Cost  holds both weights until the old ones are destroyed
    FlatGroup replace_experts(comm::Placements placements);

    /// How many tokens a step has at most, on all ranks together, and how often each adds to an element of a gradient: the
    /// gradients of `reproducible` mode refuse addends so large that a sum of that many could leave its range
    /// (kernels/core/gradient_ref.hpp). Both are 1 until then.
    void set_uses(ParameterId id, index_t uses) { specs_[id].uses = uses; }
    void set_step_tokens(index_t tokens) { step_tokens_ = tokens; }

    /// From now on the parameter stays as it is, and its gradient counts nowhere.
    void freeze(ParameterId id) { specs_[id].frozen = true; }

    std::span<const ParameterSpec> specs() const { return specs_; }
    const ParameterSpec& spec(ParameterId id) const { return specs_[id]; }
    FlatGroup& group(Sharding sharding);
    const FlatGroup& group(Sharding sharding) const;
    const comm::Placements& placements() const { return placements_; }
    /// @throws LogicError for a layer that is no mixture
    const comm::Placement& placement(index_t layer) const;
    int group_rank() const { return group_rank_; }
    const Context& context() const { return context_; }

    // A parameter that the model does not have (-1) has null weights and a null gradient.
    /// A replicated parameter, [rows, cols] f32; a vector is one row.
    ConstTensorRef weight(ParameterId id) const { return weight_in(id, DType::f32); }
    /// The same as products use it: of the model's dtype.
    ConstTensorRef working_weight(ParameterId id) const { return weight_in(id, compute_); }
    /// All local experts of an expert parameter as products use them, below each other in the placement's local order:
    /// [L * in, out], of the model's dtype.
    ConstTensorRef expert_weight(ParameterId id) const;
    /// Gradient of matrix `local_idx` (0, or the local expert number) of a parameter.
    /// @pre  allocate() made some
    GradientRef gradient(ParameterId id, index_t local_idx = 0);
    /// The matrices of a parameter among those of its group, without shadows.
    Range matrices_of(ParameterId id) const { return places_[id].matrices; }
    /// Matrices of a parameter on this rank, with shadows.
    index_t num_local(ParameterId id) const { return places_[id].num_local; }
    /// [1] u8: not 0 when a fixed-point gradient went out of range in this step; reset by zero_gradients().
    ConstTensorRef overflow() const { return overflow_.ref().rows_of({0, 1}); }
    void zero_gradients();
    /// Rounds the weights into their bf16 copy after they changed; nothing to do in a float32 model.
    void refresh_working();

  private:
    /// One parameter in its group: a block of num_local matrices from `offset` on.
    struct Place {
        Range matrices;
        index_t num_local = 0;
        index_t offset = 0;
    };
    void add(const ParameterSpec& spec);
    Place append(ParameterId id);
    ConstTensorRef weight_in(ParameterId id, DType dtype) const;
    void create_weights(FlatGroup& flat) const;
    void create_gradients(FlatGroup& flat) const;
    void initialise(FlatGroup& flat, const LocalMatrix& matrix, std::uint64_t seed);

    comm::Placements placements_;
    int group_rank_;
    DType compute_;
    const Context& context_;
    PerParameter<ParameterSpec> specs_;
    std::map<ParameterKey, ParameterId> ids_;
    PerParameter<Place> places_;
    FlatGroup replicated_;
    FlatGroup expert_;
    index_t step_tokens_ = 1;
    Tensor overflow_;  ///< [2, 1] u8: of gradients, and of those that count nowhere
};

}  // namespace sy::model
