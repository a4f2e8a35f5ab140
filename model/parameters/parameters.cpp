#include "model/parameters/parameters.hpp"

#include <algorithm>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/random/random.hpp"

namespace sy::model {
namespace {

/// FNV-1a: names must give the same stream on every machine, which std::hash does not promise.
std::uint64_t hash_name(const std::string& name) {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return hash;
}

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

}  // namespace

void initial_values(const ParameterSpec& spec, std::uint64_t seed, index_t first, std::span<float> values,
                    const Context& context) {
    if (spec.init != Init::normal) {
        std::fill(values.begin(), values.end(), spec.init == Init::ones ? 1.0F : 0.0F);
        return;
    }
    const RandomKey key{seed ^ hash_name(spec.name), 0, 0, RandomPurpose::initialise};
    ops::fill_normal(key, first, spec.deviation, values, context);
}

Parameters::Parameters(std::vector<index_t> local_experts, DType compute, const Context& context)
    : local_experts_(std::move(local_experts)), compute_(compute), context_(context) {}

ParameterId Parameters::add(ParameterSpec spec) {
    for (const ParameterSpec& other : specs_)
        SY_REQUIRE(other.name != spec.name, "parameter ", spec.name, " is added twice");
    const int dims = spec.shape.num_dims();
    SY_REQUIRE(spec.sharding == Sharding::expert ? dims == 3 : dims == 1 || dims == 2, "parameter ",
               spec.name, " of shape ", spec.shape.to_string());
    const auto id = static_cast<ParameterId>(specs_.size());
    FlatGroup& flat = group(spec.sharding);
    first_matrix_.push_back(static_cast<index_t>(flat.matrices.size()));
    const index_t cols = spec.shape[dims - 1];
    const index_t rows = dims == 1 ? 1 : spec.shape[dims - 2];
    const bool expert = spec.sharding == Sharding::expert;
    const std::vector<index_t> replicated{0};
    for (const index_t global_idx : expert ? local_experts_ : replicated) {
        flat.matrices.push_back({id, global_idx, {flat.num_elements, rows, cols}});
        flat.num_elements += rows * cols;
    }
    specs_.push_back(std::move(spec));
    return id;
}

void Parameters::allocate(std::uint64_t seed) {
    for (FlatGroup* flat : {&replicated_, &expert_}) {
        const Shape shape{flat->num_elements};
        flat->weights = Tensor(context_.arena, DType::f32, shape);
        if (compute_ == DType::bf16) flat->working = Tensor(context_.arena, DType::bf16, shape);
        if (context_.numerics == NumericsMode::fast) {
            flat->gradient = Tensor(context_.arena, DType::f32, shape);
        } else {
            flat->gradient_fixed = Tensor(context_.arena, DType::i64, shape);
        }
        for (const LocalMatrix& matrix : flat->matrices) {
            const ParameterSpec& spec = specs_[at(matrix.parameter)];
            const index_t count = matrix.place.rows * matrix.place.cols;
            const std::span<float> values =
                flat->weights.values<float>().subspan(at(matrix.place.offset), at(count));
            initial_values(spec, seed, matrix.global_idx * count, values, context_);
        }
    }
    zero_gradients();
    refresh_working();
}

FlatGroup& Parameters::group(Sharding sharding) {
    return sharding == Sharding::expert ? expert_ : replicated_;
}

const FlatGroup& Parameters::group(Sharding sharding) const {
    return sharding == Sharding::expert ? expert_ : replicated_;
}

template <class T>
MatrixView<const T> Parameters::weight(ParameterId id) const {
    const FlatGroup& flat = group(specs_[at(id)].sharding);
    const comm::FlatMatrix& place = flat.matrices[at(first_matrix_[at(id)])].place;
    const Tensor& source = std::is_same_v<T, bf16> ? flat.working : flat.weights;
    return {source.values<T>().data() + place.offset, place.rows, place.cols};
}

template <class T>
TensorView3<const T> Parameters::expert_weight(ParameterId id) const {
    const Shape& shape = specs_[at(id)].shape;
    const auto count = static_cast<index_t>(local_experts_.size());
    if (count == 0) return {nullptr, 0, shape[1], shape[2]};
    const comm::FlatMatrix& place = expert_.matrices[at(first_matrix_[at(id)])].place;
    const Tensor& source = std::is_same_v<T, bf16> ? expert_.working : expert_.weights;
    return {source.values<T>().data() + place.offset, count, shape[1], shape[2]};
}

GradientView Parameters::gradient(ParameterId id, index_t local_idx) {
    FlatGroup& flat = group(specs_[at(id)].sharding);
    const comm::FlatMatrix& place = flat.matrices[at(first_matrix_[at(id)] + local_idx)].place;
    GradientView view{nullptr, nullptr, place.rows, place.cols,
                      specs_[at(id)].frozen ? &frozen_overflow_ : &overflow_};
    if (flat.gradient_fixed.empty()) {
        view.f32 = flat.gradient.values<float>().data() + place.offset;
    } else {
        view.fixed = flat.gradient_fixed.values<std::int64_t>().data() + place.offset;
    }
    return view;
}

void Parameters::zero_gradients() {
    for (FlatGroup* flat : {&replicated_, &expert_}) {
        if (!flat->gradient.empty()) flat->gradient.fill_zero();
        if (!flat->gradient_fixed.empty()) flat->gradient_fixed.fill_zero();
    }
    overflow_ = false;
}

void Parameters::refresh_working() {
    if (compute_ != DType::bf16) return;
    for (FlatGroup* flat : {&replicated_, &expert_}) {
        // As rows of 4096, so that the work is shared out.
        constexpr index_t kRow = 4096;
        const index_t whole = flat->num_elements / kRow;
        const float* const from = flat->weights.values<float>().data();
        bf16* const to = flat->working.values<bf16>().data();
        const index_t rest = flat->num_elements - whole * kRow;
        ops::cast(MatrixView<const float>(from, whole, kRow), MatrixView<bf16>(to, whole, kRow), context_);
        ops::cast(MatrixView<const float>(from + whole * kRow, 1, rest),
                  MatrixView<bf16>(to + whole * kRow, 1, rest), context_);
    }
}

template MatrixView<const float> Parameters::weight<float>(ParameterId) const;
template MatrixView<const bf16> Parameters::weight<bf16>(ParameterId) const;
template TensorView3<const float> Parameters::expert_weight<float>(ParameterId) const;
template TensorView3<const bf16> Parameters::expert_weight<bf16>(ParameterId) const;

}  // namespace sy::model
