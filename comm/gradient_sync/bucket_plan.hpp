#pragma once

#include <span>
#include <string>
#include <vector>

#include "comm/axes.hpp"

namespace sy::comm {

/// One weight matrix inside a flat array of parameters. Rows are the unit of sharding: never cut.
struct FlatMatrix {
    index_t offset = 0;  ///< first element in the flat array; in ascending order
    index_t rows = 0;
    index_t cols = 0;
    bool operator==(const FlatMatrix&) const = default;
};

/// Some rows of one matrix.
struct RowRange {
    index_t matrix = 0;  ///< index into the list of matrices
    Range rows;
    bool operator==(const RowRange&) const = default;
};

/// Consecutive matrices that are reduced together. Rank r of the group owns elements [cuts[r], cuts[r+1]) of the
/// flat array (ZeRO-1: it keeps their optimizer state); cuts lie between rows.
struct Bucket {
    Range matrices;
    std::vector<index_t> cuts;

    Range elements_of(int rank) const { return group_of(cuts, rank); }
    bool operator==(const Bucket&) const = default;
};

struct MatrixAxis;
struct BucketAxis;

/// A pure value: how a flat array is cut into buckets and the buckets into slices.
struct BucketPlan {
    Indexed<MatrixAxis, FlatMatrix> matrices;
    Indexed<BucketAxis, Bucket> buckets;

    /// Rows that `rank` owns, in flat order.
    std::vector<RowRange> rows_of(int rank) const;
    /// Elements that `rank` owns: the length of its optimizer state.
    index_t elements_of(int rank) const;
    std::string to_string() const;
    bool operator==(const BucketPlan&) const = default;
};

/// Buckets of at least bucket_elements (the last, and one before a gap between matrices, may be smaller), each sharded
/// over the ranks as evenly as rows allow. @throws LogicError when matrices overlap
/// @par Source  Rajbhandari et al., ZeRO, arXiv:1910.02054 (stage 1)
BucketPlan make_bucket_plan(std::vector<FlatMatrix> matrices, int num_ranks, index_t bucket_elements);

}  // namespace sy::comm
