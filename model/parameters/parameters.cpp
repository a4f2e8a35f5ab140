#include "model/parameters/parameters.hpp"

#include <utility>

#include "kernels/core/offsets.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/random/random.hpp"

namespace sy::model {
namespace {

/// FNV-1a: names must give the same stream on every machine, which std::hash does not promise.
std::uint64_t hash_name(const std::string& name) {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return hash;
}

const comm::Placement& placement_of(index_t layer, const comm::Placements& placements) {
    const auto found = placements.find(layer);
    SY_REQUIRE(found != placements.end(), "parameters: layer ", layer, " has no placement");
    return found->second;
}

/// The last two dimensions of a parameter, or a vector as one row.
comm::FlatMatrix matrix_at(index_t offset, const Shape& shape) {
    const int dims = shape.num_dims();
    return {offset, dims == 1 ? 1 : shape[dims - 2], shape[dims - 1]};
}

/// `rows` rows of `cols` elements of a flat array.
template <class Flat>
auto rows_at(Flat& flat, const comm::FlatMatrix& place) {
    const Range elements{place.offset, place.offset + place.rows * place.cols};
    return flat.ref().cols_of(elements).as_matrix(place.rows, place.cols);
}

/// Makes room for a matrix in the flat arrays.
LocalMatrix next_matrix(FlatLayout& flat, ParameterId id, index_t global_idx, const Shape& shape) {
    const comm::FlatMatrix place = matrix_at(flat.num_elements, shape);
    flat.num_elements += place.rows * place.cols;
    return {id, global_idx, place};
}

void append_experts(FlatLayout& flat, ParameterId id, const ParameterSpec& spec,
                    const comm::Placements& placements, int group_rank) {
    const comm::Placement& placement = placement_of(spec.layer(), placements);
    SY_REQUIRE(placement.num_experts() == spec.shape[0], "parameter ", spec.name, " of shape ",
               spec.shape.to_string(), " for ", placement.to_string());
    for (const index_t expert : placement.primaries_of(group_rank))
        flat.matrices.push_back(next_matrix(flat, id, expert, spec.shape));
    for (const index_t expert : placement.shadows_of(group_rank))
        flat.shadows.push_back(next_matrix(flat, id, expert, spec.shape));
}

}  // namespace

void initial_values(const ParameterSpec& spec, std::uint64_t seed, index_t first, TensorRef values,
                    const Context& context) {
    if (spec.init != Init::normal) {
        ops::fill(spec.init == Init::ones ? 1.0F : 0.0F, values, context);
        return;
    }
    const RandomKey key{seed ^ hash_name(spec.name), 0, 0, RandomPurpose::initialise};
    ops::fill_normal(key, first, spec.deviation, values, context);
}

FlatLayout expert_layout(PerParameterSpan<const ParameterSpec> specs, const comm::Placements& placements,
                         int group_rank) {
    FlatLayout layout;
    for (ParameterId id = 0; id < specs.size(); ++id) {
        if (specs[id].sharding == Sharding::expert)
            append_experts(layout, id, specs[id], placements, group_rank);
    }
    return layout;
}

Parameters::Parameters(std::span<const ParameterSpec> specs, comm::Placements placements, int group_rank,
                       DType compute, const Context& context)
    : placements_(std::move(placements)), group_rank_(group_rank), compute_(compute), context_(context) {
    for (const ParameterSpec& spec : specs) add(spec);
}

void Parameters::add(const ParameterSpec& spec) {
    for (const ParameterSpec& other : specs_)
        SY_REQUIRE(other.name != spec.name && other.key != spec.key, "parameter ", spec.name,
                   " is added after ", other.name, ", whose name or key it has");
    const int dims = spec.shape.num_dims();
    SY_REQUIRE(spec.sharding == Sharding::expert ? dims == 3 : dims == 1 || dims == 2, "parameter ",
               spec.name, " of shape ", spec.shape.to_string());
    const ParameterId id = specs_.size();
    ids_.emplace(spec.key, id);
    specs_.push_back(spec);
    places_.push_back(append(id));
}

ParameterId Parameters::find(const ParameterKey& key) const {
    const auto found = ids_.find(key);
    return found == ids_.end() ? ParameterId{-1} : found->second;
}

ParameterId Parameters::id(const ParameterKey& key) const {
    const ParameterId found = find(key);
    SY_REQUIRE(found >= 0, "parameters: the model has none of ", key.to_string());
    return found;
}

Parameters::Place Parameters::append(ParameterId id) {
    const ParameterSpec& spec = specs_[id];
    FlatGroup& flat = group(spec.sharding);
    const index_t first = flat.matrices.size();
    const std::size_t first_shadow = flat.shadows.size();
    const index_t offset = flat.num_elements;
    if (spec.sharding == Sharding::expert) {
        append_experts(flat, id, spec, placements_, group_rank_);
    } else {
        flat.matrices.push_back(next_matrix(flat, id, 0, spec.shape));
    }
    const Range matrices{first, flat.matrices.size()};
    return {matrices, matrices.size() + static_cast<index_t>(flat.shadows.size() - first_shadow), offset};
}

void Parameters::create_weights(FlatGroup& flat) const {
    const Shape shape{flat.num_elements};
    flat.weights = Tensor(context_.device, DType::f32, shape);
    if (compute_ == DType::bf16) flat.working = Tensor(context_.device, DType::bf16, shape);
}

void Parameters::create_gradients(FlatGroup& flat) const {
    const Shape shape{flat.num_elements};
    if (context_.numerics == NumericsMode::fast) {
        flat.gradient = Tensor(context_.device, DType::f32, shape);
    } else {
        flat.gradient_fixed = Tensor(context_.device, DType::i64, shape);
    }
}

void Parameters::initialise(FlatGroup& flat, const LocalMatrix& matrix, std::uint64_t seed) {
    const ParameterSpec& spec = specs_[matrix.parameter];
    const index_t count = matrix.place.rows * matrix.place.cols;
    const Range place{matrix.place.offset, matrix.place.offset + count};
    initial_values(spec, seed, matrix.global_idx * count, flat.weights.ref().cols_of(place), context_);
}

void Parameters::allocate_weights() {
    for (FlatGroup* flat : {&replicated_, &expert_}) create_weights(*flat);
}

void Parameters::allocate(std::uint64_t seed) {
    allocate_weights();
    overflow_ = Tensor(context_.device, DType::u8, {2, 1});
    for (FlatGroup* flat : {&replicated_, &expert_}) {
        create_gradients(*flat);
        for (const LocalMatrix& matrix : flat->matrices) initialise(*flat, matrix, seed);
        for (const LocalMatrix& shadow : flat->shadows) initialise(*flat, shadow, seed);
    }
    zero_gradients();
    refresh_working();
}

FlatGroup Parameters::replace_experts(comm::Placements placements) {
    FlatGroup old = std::exchange(expert_, {});
    placements_ = std::move(placements);
    for (ParameterId id = 0; id < specs_.size(); ++id) {
        if (specs_[id].sharding == Sharding::expert) places_[id] = append(id);
    }
    // Given back first, so that the arena can use them again.
    old.working = {};
    old.gradient = {};
    old.gradient_fixed = {};
    create_weights(expert_);
    create_gradients(expert_);
    zero_gradients();
    return old;
}

const comm::Placement& Parameters::placement(index_t layer) const {
    return placement_of(layer, placements_);
}

FlatGroup& Parameters::group(Sharding sharding) {
    return sharding == Sharding::expert ? expert_ : replicated_;
}

const FlatGroup& Parameters::group(Sharding sharding) const {
    return sharding == Sharding::expert ? expert_ : replicated_;
}

ConstTensorRef Parameters::weight_in(ParameterId id, DType dtype) const {
    if (id < 0) return {};
    const FlatGroup& flat = group(specs_[id].sharding);
    return rows_at(dtype == DType::bf16 ? flat.working : flat.weights,
                   flat.matrices[matrices_of(id).begin].place);
}

ConstTensorRef Parameters::expert_weight(ParameterId id) const {
    if (id < 0) return {};
    const Shape& shape = specs_[id].shape;
    const Place& place = places_[id];
    const index_t rows = place.num_local * shape[1];
    return rows_at(compute_ == DType::bf16 ? expert_.working : expert_.weights,
                   {place.offset, rows, shape[2]});
}

GradientRef Parameters::gradient(ParameterId id, index_t local_idx) {
    if (id < 0) return {};
    const ParameterSpec& spec = specs_[id];
    FlatGroup& flat = group(spec.sharding);
    comm::FlatMatrix place = matrix_at(places_[id].offset, spec.shape);
    place.offset += local_idx * place.rows * place.cols;
    SY_ASSERT(local_idx >= 0 && local_idx < num_local(id), "parameter ", spec.name, ": gradient ", local_idx,
              " of ", num_local(id));
    SY_ASSERT(!overflow_.empty(), "parameter ", spec.name, ": gradient of a model that does not learn");
    Tensor& sums = flat.gradient_fixed.empty() ? flat.gradient : flat.gradient_fixed;
    const index_t flag = spec.frozen ? 1 : 0;
    return {rows_at(sums, place), overflow_.ref().rows_of({flag, flag + 1}),
            gradient_limit(step_tokens_ * spec.uses)};
}

void Parameters::zero_gradients() {
    for (FlatGroup* flat : {&replicated_, &expert_}) {
        if (!flat->gradient.empty()) ops::clear(flat->gradient, context_);
        if (!flat->gradient_fixed.empty()) ops::clear(flat->gradient_fixed, context_);
    }
    ops::clear(overflow_, context_);
}

void Parameters::refresh_working() {
    if (compute_ != DType::bf16) return;
    for (FlatGroup* flat : {&replicated_, &expert_}) {
        ops::cast(flat->weights, flat->working, context_);
    }
}

}  // namespace sy::model
