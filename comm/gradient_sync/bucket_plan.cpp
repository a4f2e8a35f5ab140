#include "comm/gradient_sync/bucket_plan.hpp"

#include <algorithm>

namespace sy::comm {
namespace {

/// Cuts near the even ones, moved to the next row border.
std::vector<index_t> cut_rows(IndexedSpan<MatrixAxis, const FlatMatrix> matrices, int num_ranks) {
    const index_t begin = matrices.front().offset;
    const index_t end = matrices.back().offset + matrices.back().rows * matrices.back().cols;
    std::vector<index_t> cuts{begin};
    index_t m = 0;
    for (int rank = 1; rank < num_ranks; ++rank) {
        const index_t wanted = begin + part_of(end - begin, num_ranks, rank).begin;
        while (m + 1 < matrices.size() && matrices[m + 1].offset <= wanted) ++m;
        const FlatMatrix& matrix = matrices[m];
        const index_t row = matrix.cols == 0 ? 0 : (wanted - matrix.offset + matrix.cols / 2) / matrix.cols;
        cuts.push_back(std::max(cuts.back(), matrix.offset + std::min(row, matrix.rows) * matrix.cols));
    }
    cuts.push_back(end);
    return cuts;
}

}  // namespace

std::vector<RowRange> BucketPlan::rows_of(int rank) const {
    std::vector<RowRange> owned;
    for (const Bucket& bucket : buckets) {
        const Range mine = bucket.elements_of(rank);
        for (index_t m = bucket.matrices.begin; m < bucket.matrices.end; ++m) {
            const FlatMatrix& matrix = matrices[m];
            if (matrix.cols == 0) continue;
            const index_t size = matrix.rows * matrix.cols;
            const index_t begin = std::clamp<index_t>(mine.begin - matrix.offset, 0, size) / matrix.cols;
            const index_t end = std::clamp<index_t>(mine.end - matrix.offset, 0, size) / matrix.cols;
            if (begin < end) owned.push_back({m, {begin, end}});
        }
    }
    return owned;
}

index_t BucketPlan::elements_of(int rank) const {
    index_t elements = 0;
    for (const Bucket& bucket : buckets) elements += bucket.elements_of(rank).size();
    return elements;
}

std::string BucketPlan::to_string() const {
    std::string text = concat(matrices.size(), " matrices in ", buckets.size(), " buckets:");
    for (const Bucket& bucket : buckets) {
        text += concat("\n  matrices ", bucket.matrices.begin, " to ", bucket.matrices.end - 1, ", cuts");
        for (const index_t cut : bucket.cuts) text += concat(" ", cut);
    }
    return text;
}

BucketPlan make_bucket_plan(std::vector<FlatMatrix> matrices, int num_ranks, index_t bucket_elements) {
    SY_REQUIRE(num_ranks >= 1 && bucket_elements >= 1, "bucket plan: ", num_ranks, " ranks, buckets of ",
               bucket_elements);
    BucketPlan plan;
    plan.matrices = Indexed<MatrixAxis, FlatMatrix>(std::move(matrices));
    const IndexedSpan<MatrixAxis, const FlatMatrix> all = plan.matrices;
    index_t first = 0;
    index_t elements = 0;
    for (index_t m = 0; m < all.size(); ++m) {
        const index_t end = all[m].offset + all[m].rows * all[m].cols;
        const index_t next = m + 1 < all.size() ? all[m + 1].offset : end;
        SY_REQUIRE(next >= end, "bucket plan: matrix ", m + 1, " starts at ", next, ", before the end ", end,
                   " of the one before it");
        elements += all[m].rows * all[m].cols;
        if (elements < bucket_elements && m + 1 < all.size() && next == end) continue;
        const Range range{first, m + 1};
        plan.buckets.push_back({range, cut_rows(all.part(range), num_ranks)});
        first = m + 1;
        elements = 0;
    }
    return plan;
}

}  // namespace sy::comm
