#include "runtime/train/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "comm/collectives.hpp"
#include "kernels/ops/reduce/reduce.hpp"

namespace sy::runtime {
namespace {

/// Buckets of 16 MiB of float32: long enough for full bandwidth, short enough to overlap with backward.
constexpr index_t kBucketElements = index_t{4} << 20;

std::vector<comm::FlatMatrix> places(const model::FlatGroup& flat) {
    std::vector<comm::FlatMatrix> result;
    for (const model::LocalMatrix& matrix : flat.matrices) result.push_back(matrix.place);
    return result;
}

std::span<float> part_of_values(Tensor& values, index_t offset, index_t count) {
    return values.values<float>().subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(count));
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
                                   comm::Communicator& world, comm::Communicator& replica_group,
                                   const Context& context)
    : config_(config), parameters_(parameters), world_(world), context_(context) {
    add_group(parameters.group(model::Sharding::replicated), world, 2000);
    add_group(parameters.group(model::Sharding::expert), replica_group, 2000);
}

void ShardedOptimizer::add_group(model::FlatGroup& flat, comm::Communicator& ranks, int tag_base) {
    const comm::BucketPlan plan = comm::make_bucket_plan(places(flat), ranks.size(), kBucketElements);
    const index_t elements = plan.elements_of(ranks.rank());
    const auto fresh = [&](DType dtype) { return Tensor(context_.arena, dtype, {elements}); };
    auto group = std::make_unique<Group>(Group{&flat,
                                               comm::GradientSync(ranks, plan, tag_base, context_),
                                               ranks.rank(),
                                               plan.rows_of(ranks.rank()),
                                               {},
                                               fresh(DType::f32),
                                               fresh(DType::f32)});
    if (context_.numerics == NumericsMode::reproducible) group->gradient = fresh(DType::f32);
    group->m.fill_zero();
    group->v.fill_zero();
    groups_.push_back(std::move(group));
}

void ShardedOptimizer::gradient_ready(model::ParameterId id) {
    const model::ParameterSpec& spec = parameters_.specs()[static_cast<std::size_t>(id)];
    const bool expert = spec.sharding == model::Sharding::expert;
    Group& group = *groups_[expert ? 1 : 0];
    const index_t count = expert ? static_cast<index_t>(parameters_.local_experts().size()) : 1;
    for (index_t i = 0; i < count; ++i) {
        const index_t matrix = parameters_.first_matrix(id) + i;
        if (context_.numerics == NumericsMode::fast) {
            group.sync.ready(matrix, std::span<const float>(group.flat->gradient.values<float>()));
        } else {
            group.sync.ready(
                matrix, std::span<const std::int64_t>(group.flat->gradient_fixed.values<std::int64_t>()));
        }
    }
    for (const std::unique_ptr<Group>& other : groups_) other->sync.progress();
}

template <class Body>
void ShardedOptimizer::for_owned(const Group& group, const Body& body) const {
    index_t slice_offset = 0;
    for (const comm::RowRange& range : group.rows) {
        const comm::FlatMatrix& place = group.sync.plan().matrices[static_cast<std::size_t>(range.matrix)];
        body(OwnedPart{group.flat->matrices[static_cast<std::size_t>(range.matrix)], range.rows, place.cols,
                       place.offset + range.rows.begin * place.cols, slice_offset});
        slice_offset += range.rows.size() * place.cols;
    }
}

template <class Body>
void ShardedOptimizer::for_trained(const Group& group, const Body& body) const {
    for_owned(group, [&](const OwnedPart& part) {
        if (!parameters_.specs()[static_cast<std::size_t>(part.matrix.parameter)].frozen) body(part);
    });
}

std::span<float> ShardedOptimizer::gradient_of(Group& group, const OwnedPart& part) const {
    const index_t count = part.rows.size() * part.cols;
    return context_.numerics == NumericsMode::fast
               ? part_of_values(group.flat->gradient, part.flat_offset, count)
               : part_of_values(group.gradient, part.slice_offset, count);
}

void ShardedOptimizer::finish_reduction(Group& group) {
    if (context_.numerics == NumericsMode::fast) {
        group.sync.finish(group.flat->gradient.values<float>());
        return;
    }
    const std::span<std::int64_t> fixed = group.flat->gradient_fixed.values<std::int64_t>();
    group.sync.finish(fixed);
    for_trained(group, [&](const OwnedPart& part) {
        const std::span<float> gradient = gradient_of(group, part);
        const auto first = static_cast<std::size_t>(part.flat_offset);
        context_.team.for_ranges(
            static_cast<index_t>(gradient.size()), 4096, [&](index_t begin, index_t end) {
                const auto from = static_cast<std::size_t>(begin);
                const auto count = static_cast<std::size_t>(end - begin);
                from_fixed_point(fixed.subspan(first + from, count), gradient.subspan(from, count));
            });
    });
}

void ShardedOptimizer::collect_squares(Group& group, std::vector<double>& squares) const {
    for_trained(group, [&](const OwnedPart& part) {
        const std::size_t first = squares.size();
        squares.resize(first + static_cast<std::size_t>(part.rows.size()));
        ops::row_sums_of_squares({gradient_of(group, part).data(), part.rows.size(), part.cols},
                                 std::span<double>(squares).subspan(first), context_);
    });
}

void ShardedOptimizer::zero_unread(Group& group) {
    const std::span<float> gradient = group.flat->gradient.values<float>();
    const auto zero = [&](index_t first, index_t last) {
        context_.team.for_ranges(last - first, 4096, [&](index_t begin, index_t end) {
            std::fill(gradient.begin() + first + begin, gradient.begin() + first + end, 0.0F);
        });
    };
    const auto me = static_cast<std::size_t>(group.group_rank);
    for (const comm::Bucket& bucket : group.sync.plan().buckets) {
        zero(bucket.cuts.front(), bucket.cuts[me]);
        zero(bucket.cuts[me + 1], bucket.cuts.back());
    }
    for_owned(group, [&](const OwnedPart& part) {
        if (parameters_.specs()[static_cast<std::size_t>(part.matrix.parameter)].frozen)
            zero(part.flat_offset, part.flat_offset + part.rows.size() * part.cols);
    });
}

double ShardedOptimizer::sum_over_world(std::span<const double> addends) const {
    // The same sum in both modes: it costs two short messages and never shows the layout.
    return comm::reproducible_sum(world_, addends);
}

ShardedOptimizer::Result ShardedOptimizer::step(index_t step, index_t num_steps) {
    std::vector<double> squares;
    for (const std::unique_ptr<Group>& group : groups_) {
        finish_reduction(*group);
        collect_squares(*group, squares);
    }
    if (parameters_.overflowed()) squares.push_back(std::numeric_limits<double>::infinity());
    Result result;
    result.gradient_norm = std::sqrt(sum_over_world(squares));
    result.applied = std::isfinite(result.gradient_norm);
    if (result.applied) {
        const bool clip = config_.clip_norm > 0.0 && result.gradient_norm > config_.clip_norm;
        const ops::AdamwStep constants{
            static_cast<float>(learning_rate(config_, step, num_steps)),
            static_cast<float>(config_.beta1),
            static_cast<float>(config_.beta2),
            static_cast<float>(config_.eps),
            static_cast<float>(config_.weight_decay),
            clip ? static_cast<float>(config_.clip_norm / result.gradient_norm) : 1.0F,
            step};
        for (const std::unique_ptr<Group>& group : groups_) update(*group, constants);
        parameters_.refresh_working();
    }
    if (result.applied && context_.numerics == NumericsMode::fast) {
        // The update has zeroed what it read.
        for (const std::unique_ptr<Group>& group : groups_) zero_unread(*group);
    } else {
        parameters_.zero_gradients();
    }
    return result;
}

void ShardedOptimizer::update(Group& group, const ops::AdamwStep& constants) {
    for_trained(group, [&](const OwnedPart& part) {
        const index_t count = part.rows.size() * part.cols;
        ops::AdamwStep own = constants;
        if (!parameters_.specs()[static_cast<std::size_t>(part.matrix.parameter)].weight_decay)
            own.weight_decay = 0.0F;
        ops::adamw({part_of_values(group.flat->weights, part.flat_offset, count),
                    part_of_values(group.m, part.slice_offset, count),
                    part_of_values(group.v, part.slice_offset, count),
                    gradient_of(group, part),
                    {}},
                   own, context_);
    });
    group.sync.gather(group.flat->weights.values<float>());
}

std::vector<ShardedOptimizer::OwnedRows> ShardedOptimizer::owned_rows() {
    std::vector<OwnedRows> result;
    for (const std::unique_ptr<Group>& group : groups_) {
        for_owned(*group, [&](const OwnedPart& part) {
            const index_t count = part.rows.size() * part.cols;
            result.push_back({parameters_.specs()[static_cast<std::size_t>(part.matrix.parameter)],
                              part.matrix.global_idx, part.rows, part.cols,
                              part_of_values(group->flat->weights, part.flat_offset, count),
                              part_of_values(group->m, part.slice_offset, count),
                              part_of_values(group->v, part.slice_offset, count)});
        });
    }
    return result;
}

index_t ShardedOptimizer::sent_bytes() const {
    index_t bytes = 0;
    for (const std::unique_ptr<Group>& group : groups_) bytes += group->sync.sent_bytes();
    return bytes;
}

}  // namespace sy::runtime
