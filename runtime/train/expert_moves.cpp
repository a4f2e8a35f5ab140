#include "runtime/train/expert_moves.hpp"

namespace sy::runtime {
namespace {

/// Buckets of 16 MiB of float32: long enough for full bandwidth, short enough to overlap with backward.
constexpr index_t kBucketElements = index_t{4} << 20;

struct Owners {
    comm::RowOwners weights;  ///< by rank of the expert-parallel group
    comm::RowOwners moments;  ///< by world rank
};

/// Who has what under some placements. An expert's matrices are numbered by parameter, then by expert.
Owners owners_of(std::span<const model::ParameterSpec> specs, const comm::Placements& placements,
                 const comm::ProcessGrid& grid) {
    model::PerParameter<index_t> first_number{0};
    for (const model::ParameterSpec& spec : specs)
        first_number.push_back(first_number.back() + spec.shape[0]);
    Owners owners;
    owners.moments.resize(grid.expert_parallel * grid.data_parallel);
    for (int group_rank = 0; group_rank < grid.expert_parallel; ++group_rank) {
        const model::FlatLayout layout = model::expert_layout(specs, placements, group_rank);
        const auto number = [&](const model::LocalMatrix& matrix) {
            return first_number[matrix.parameter] + matrix.global_idx;
        };
        std::vector<comm::HeldRows>& weights = owners.weights.emplace_back();
        for (const model::LocalMatrix& matrix : layout.matrices)
            weights.push_back(
                {number(matrix), {0, matrix.place.rows}, matrix.place.cols, matrix.place.offset});
        const comm::BucketPlan sharded = shard_rows(layout, grid.data_parallel);
        for (int replica = 0; replica < grid.data_parallel; ++replica) {
            const int world_rank = replica * grid.expert_parallel + group_rank;
            index_t offset = 0;
            for (const comm::RowRange& range : sharded.rows_of(replica)) {
                const model::LocalMatrix& matrix = layout.matrices[range.matrix];
                owners.moments[world_rank].push_back({number(matrix), range.rows, matrix.place.cols, offset});
                offset += range.rows.size() * matrix.place.cols;
            }
        }
    }
    return owners;
}

}  // namespace

comm::BucketPlan shard_rows(const model::FlatLayout& layout, int num_ranks) {
    std::vector<comm::FlatMatrix> places;
    for (const model::LocalMatrix& matrix : layout.matrices) places.push_back(matrix.place);
    return comm::make_bucket_plan(std::move(places), num_ranks, kBucketElements);
}

ExpertMoves plan_expert_moves(std::span<const model::ParameterSpec> specs, const comm::Placements& before,
                              const comm::Placements& after, const comm::ProcessGrid& grid) {
    const Owners old_owners = owners_of(specs, before, grid);
    const Owners new_owners = owners_of(specs, after, grid);
    return {comm::plan_moves(old_owners.weights, new_owners.weights),
            comm::plan_moves(old_owners.moments, new_owners.moments)};
}

}  // namespace sy::runtime
