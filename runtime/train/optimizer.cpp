#include "runtime/train/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/relocation/move_rows.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/reduce/reduce.hpp"
#include "runtime/train/expert_moves.hpp"

namespace sy::runtime {
namespace {

constexpr std::size_t kReplicated = 0;
constexpr std::size_t kExpert = 1;
constexpr int kFirstTag = 2000;
/// Messages on the world and on the expert-parallel group; below the others, above those of the exchange.
constexpr int kMoveTag = 1500;
/// The largest norm of a gradient that is used: the squares of a larger one overflow the second moments, which would
/// stay infinite and never move their weights again.
constexpr double kLargestNorm = 1e18;

TensorRef part_of_values(Tensor& values, index_t offset, index_t count) {
    return values.ref().cols_of({offset, offset + count});
}

}  // namespace

double learning_rate(const OptimizerConfig& config, index_t step, index_t num_steps) {
    if (step <= config.warmup_steps)
        return config.lr * static_cast<double>(step) / static_cast<double>(config.warmup_steps);
    const index_t span = std::max<index_t>(1, num_steps - config.warmup_steps);
    const double progress =
        std::min(1.0, static_cast<double>(step - config.warmup_steps) / static_cast<double>(span));
    const double share = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * share);
}

ShardedOptimizer::ShardedOptimizer(const OptimizerConfig& config, model::Parameters& parameters,
                                   comm::Communicator& world, comm::GridCommunicators& groups,
                                   const Context& context)
    : config_(config), parameters_(parameters), world_(world), ranks_(groups), context_(context) {
    groups_.push_back(make_group(parameters.group(model::Sharding::replicated), world));
    groups_.push_back(make_group(parameters.group(model::Sharding::expert), *groups.replica_group));
    make_shadow_sync();
}

std::unique_ptr<ShardedOptimizer::Group> ShardedOptimizer::make_group(model::FlatGroup& flat,
                                                                      comm::Communicator& ranks) const {
    const comm::BucketPlan plan = shard_rows(flat, ranks.size());
    const index_t elements = plan.elements_of(ranks.rank());
    const auto fresh = [&](DType dtype) { return Tensor(context_.device, dtype, {elements}); };
    auto group = std::make_unique<Group>(Group{&flat,
                                               comm::GradientSync(ranks, plan, kFirstTag, context_),
                                               ranks.rank(),
                                               plan.rows_of(ranks.rank()),
                                               {},
                                               fresh(DType::f32),
                                               fresh(DType::f32)});
    if (context_.numerics == NumericsMode::reproducible) group->gradient = fresh(DType::f32);
    ops::clear(group->m, context_);
    ops::clear(group->v, context_);
    return group;
}

void ShardedOptimizer::make_shadow_sync() {
    Indexed<comm::SetAxis, std::vector<comm::CopiedMatrix>> copied(
        static_cast<index_t>(parameters_.specs().size()));
    const model::FlatGroup& flat = parameters_.group(model::Sharding::expert);
    const auto add = [&](const model::LocalMatrix& matrix) {
        const comm::Placement& placement = parameters_.placement(parameters_.spec(matrix.parameter).layer());
        const std::span<const int> ranks = placement.copies_of(matrix.global_idx);
        if (ranks.size() == 1) return;
        copied[matrix.parameter].push_back({matrix.place.offset,
                                            matrix.place.rows * matrix.place.cols,
                                            placement.rank_of(matrix.global_idx),
                                            {ranks.begin(), ranks.end()}});
    };
    std::ranges::for_each(flat.matrices, add);
    std::ranges::for_each(flat.shadows, add);
    shadows_.emplace(*ranks_.expert_group, std::move(copied), kFirstTag, context_);
}

TensorRef ShardedOptimizer::all_gradients(Group& group) {
    return group.flat->gradient_fixed.empty() ? group.flat->gradient : group.flat->gradient_fixed;
}

void ShardedOptimizer::gradient_ready(model::ParameterId id) {
    const TraceSpan span(trace_, TraceKind::communication, "gradient synchronisation");
    const bool expert = parameters_.spec(id).sharding == model::Sharding::expert;
    const TensorRef of_experts = all_gradients(*groups_[kExpert]);
    if (expert && shadows_->involves(id)) {
        shadows_->start(id, of_experts);
        awaited_.push_back(id);
    } else {
        mark_ready(id);
    }
    while (!awaited_.empty() && shadows_->try_finish(awaited_.front(), of_experts)) {
        mark_ready(awaited_.front());
        awaited_.pop_front();
    }
    for (const std::unique_ptr<Group>& group : groups_) group->sync.progress();
}

void ShardedOptimizer::mark_ready(model::ParameterId id) {
    const bool expert = parameters_.spec(id).sharding == model::Sharding::expert;
    Group& group = *groups_[expert ? kExpert : kReplicated];
    const Range matrices = parameters_.matrices_of(id);
    for (index_t matrix = matrices.begin; matrix < matrices.end; ++matrix)
        group.sync.ready(matrix, all_gradients(group));
}

template <class Body>
void ShardedOptimizer::for_owned(const Group& group, const Body& body) const {
    index_t slice_offset = 0;
    for (const comm::RowRange& range : group.rows) {
        const comm::FlatMatrix& place = group.sync.plan().matrices[range.matrix];
        body(OwnedPart{group.flat->matrices[range.matrix], range.rows, place.cols,
                       place.offset + range.rows.begin * place.cols, slice_offset});
        slice_offset += range.rows.size() * place.cols;
    }
}

template <class Body>
void ShardedOptimizer::for_trained(const Group& group, const Body& body) const {
    for_owned(group, [&](const OwnedPart& part) {
        if (!parameters_.spec(part.matrix.parameter).frozen) body(part);
    });
}

TensorRef ShardedOptimizer::gradient_of(Group& group, const OwnedPart& part) const {
    const index_t count = part.rows.size() * part.cols;
    return context_.numerics == NumericsMode::fast
               ? part_of_values(group.flat->gradient, part.flat_offset, count)
               : part_of_values(group.gradient, part.slice_offset, count);
}

void ShardedOptimizer::finish_reduction(Group& group) {
    const TraceSpan span(trace_, TraceKind::wait, "wait for gradients");
    group.sync.finish(all_gradients(group));
    if (context_.numerics == NumericsMode::fast) return;
    for_trained(group, [&](const OwnedPart& part) {
        const index_t count = part.rows.size() * part.cols;
        ops::round_fixed_point(part_of_values(group.flat->gradient_fixed, part.flat_offset, count),
                               gradient_of(group, part), context_);
    });
}

index_t ShardedOptimizer::num_trained_rows() const {
    index_t num_rows = 0;
    for (const std::unique_ptr<Group>& group : groups_)
        for_trained(*group, [&](const OwnedPart& part) { num_rows += part.rows.size(); });
    return num_rows;
}

TensorRef ShardedOptimizer::collect_squares(Group& group, TensorRef squares) const {
    for_trained(group, [&](const OwnedPart& part) {
        const index_t rows = part.rows.size();
        ops::row_sums_of_squares(gradient_of(group, part).as_matrix(rows, part.cols),
                                 squares.cols_of({0, rows}), context_);
        squares = squares.cols_of({rows, squares.cols()});
    });
    return squares;
}

void ShardedOptimizer::zero_unread(Group& group) {
    const auto zero = [&](index_t first, index_t last) {
        ops::clear(part_of_values(group.flat->gradient, first, last - first), context_);
    };
    for (const comm::Bucket& bucket : group.sync.plan().buckets) {
        const Range mine = bucket.elements_of(group.group_rank);
        zero(bucket.cuts.front(), mine.begin);
        zero(mine.end, bucket.cuts.back());
    }
    for (const model::LocalMatrix& shadow : group.flat->shadows)
        zero(shadow.place.offset, shadow.place.offset + shadow.place.rows * shadow.place.cols);
    for_owned(group, [&](const OwnedPart& part) {
        if (parameters_.spec(part.matrix.parameter).frozen)
            zero(part.flat_offset, part.flat_offset + part.rows.size() * part.cols);
    });
}

double ShardedOptimizer::sum_over_world(std::span<const double> addends) const {
    // The same sum in both modes: it costs two short messages and never shows the layout.
    return comm::reproducible_sum(world_, addends);
}

ShardedOptimizer::Result ShardedOptimizer::step(index_t step, index_t num_steps) {
    {
        const TraceSpan span(trace_, TraceKind::wait, "wait for gradients of copies");
        shadows_->finish(all_gradients(*groups_[kExpert]));
        awaited_.clear();
    }
    Tensor of_rows(context_.device, DType::f64, {num_trained_rows()});
    TensorRef rest = of_rows;
    for (const std::unique_ptr<Group>& group : groups_) {
        finish_reduction(*group);
        rest = collect_squares(*group, rest);
    }
    const HostValues read(HostRead::step, {of_rows, parameters_.overflow()}, context_);
    const auto read_squares = host_values<const double>(read[0]);
    std::vector<double> squares(read_squares.begin(), read_squares.end());
    if (host_values<const std::uint8_t>(read[1])[0] != 0)
        squares.push_back(std::numeric_limits<double>::infinity());
    Result result;
    {
        const TraceSpan span(trace_, TraceKind::communication, "gradient norm of all ranks");
        result.gradient_norm = std::sqrt(sum_over_world(squares));
    }
    const bool clip = config_.clip_norm > 0.0 && result.gradient_norm > config_.clip_norm;
    result.applied = std::isfinite(result.gradient_norm) &&
                     (clip ? config_.clip_norm : result.gradient_norm) <= kLargestNorm;
    if (result.applied) {
        const ops::AdamwStep constants{
            static_cast<float>(learning_rate(config_, step, num_steps)),
            static_cast<float>(config_.beta1),
            static_cast<float>(config_.beta2),
            static_cast<float>(config_.eps),
            static_cast<float>(config_.weight_decay),
            clip ? static_cast<float>(config_.clip_norm / result.gradient_norm) : 1.0F,
            step};
        for (const std::unique_ptr<Group>& group : groups_) update(*group, constants);
        const TraceSpan span(trace_, TraceKind::communication, "weights for products and shadows");
        parameters_.refresh_working();
        refresh_shadows();
    }
    if (result.applied && context_.numerics == NumericsMode::fast) {
        // The update has zeroed what it read.
        for (const std::unique_ptr<Group>& group : groups_) zero_unread(*group);
    } else {
        parameters_.zero_gradients();
    }
    return result;
}

void ShardedOptimizer::update_owned(Group& group, const ops::AdamwStep& constants) {
    const TraceSpan span(trace_, TraceKind::compute, "AdamW");
    for_trained(group, [&](const OwnedPart& part) {
        const index_t count = part.rows.size() * part.cols;
        ops::AdamwStep own = constants;
        if (!parameters_.spec(part.matrix.parameter).weight_decay) own.weight_decay = 0.0F;
        ops::adamw({part_of_values(group.flat->weights, part.flat_offset, count),
                    part_of_values(group.m, part.slice_offset, count),
                    part_of_values(group.v, part.slice_offset, count),
                    gradient_of(group, part),
                    {}},
                   own, context_);
    });
}

void ShardedOptimizer::update(Group& group, const ops::AdamwStep& constants) {
    update_owned(group, constants);
    const TraceSpan span(trace_, TraceKind::communication, "weights from their owners");
    group.sync.gather(group.flat->weights);
}

std::vector<ShardedOptimizer::OwnedRows> ShardedOptimizer::owned_rows() {
    std::vector<OwnedRows> result;
    for (const std::unique_ptr<Group>& group : groups_) {
        for_owned(*group, [&](const OwnedPart& part) {
            const index_t count = part.rows.size() * part.cols;
            result.push_back({parameters_.spec(part.matrix.parameter), part.matrix.global_idx, part.rows,
                              part.cols, part_of_values(group->flat->weights, part.flat_offset, count),
                              part_of_values(group->m, part.slice_offset, count),
                              part_of_values(group->v, part.slice_offset, count)});
        });
    }
    return result;
}

void ShardedOptimizer::refresh_shadows() {
    model::FlatGroup& flat = parameters_.group(model::Sharding::expert);
    shadows_->spread(flat.working.empty() ? flat.weights : flat.working);
}

void ShardedOptimizer::replace_experts(comm::Placements placements) {
    const comm::ProcessGrid grid{ranks_.expert_group->size(), ranks_.replica_group->size()};
    const ExpertMoves moves =
        plan_expert_moves(parameters_.specs(), parameters_.placements(), placements, grid);
    sent_before_ += shadows_->sent_bytes() + groups_[kExpert]->sync.sent_bytes();
    shadows_.reset();
    const std::unique_ptr<Group> old = std::move(groups_[kExpert]);
    const model::FlatGroup old_flat = parameters_.replace_experts(std::move(placements));
    model::FlatGroup& flat = parameters_.group(model::Sharding::expert);
    groups_[kExpert] = make_group(flat, *ranks_.replica_group);
    make_shadow_sync();
    sent_before_ += comm::move_rows(*ranks_.expert_group, moves.weights, old_flat.weights, flat.weights,
                                    kMoveTag, "weights of moved experts", context_);
    sent_before_ += comm::move_rows(world_, moves.moments, old->m, groups_[kExpert]->m, kMoveTag,
                                    "first moments of moved experts", context_);
    sent_before_ += comm::move_rows(world_, moves.moments, old->v, groups_[kExpert]->v, kMoveTag + 1,
                                    "second moments of moved experts", context_);
    parameters_.refresh_working();
    refresh_shadows();
}

index_t ShardedOptimizer::sent_bytes() const {
    index_t bytes = sent_before_ + shadows_->sent_bytes();
    for (const std::unique_ptr<Group>& group : groups_) bytes += group->sync.sent_bytes();
    return bytes;
}

}  // namespace sy::runtime
