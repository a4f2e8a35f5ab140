#pragma once

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/hdf5/file.hpp"

/// The one description of where rows of a matrix stand in a dataset, shared by writers and readers.
namespace sy::runtime::detail {

/// The block of a tensor of `shape` that holds rows of a matrix.
inline Region region_in_tensor(const Shape& shape, index_t matrix, Range rows) {
    const MatrixShape size = matrix_shape(shape);
    if (shape.num_dims() == 1) return {{0}, {size.cols}};
    if (shape.num_dims() == 2) return {{rows.begin, 0}, {rows.size(), size.cols}};
    return {{matrix, rows.begin, 0}, {1, rows.size(), size.cols}};
}

/// Dimensions of a dataset, and the block of it that holds a piece.
struct Place {
    std::vector<index_t> dims;
    Region region;
};

/// Shards hold a dataset a piece, the single file one a tensor.
inline Place place_of(const PieceRecord& piece, const Manifest& manifest) {
    if (manifest.layout == CheckpointLayout::sharded) {
        const index_t rows = piece.rows.size();
        return {{rows, piece.cols}, {{0, 0}, {rows, piece.cols}}};
    }
    const auto shape = manifest.shapes.find(piece.id.tensor);
    if (shape == manifest.shapes.end())
        throw IoError(concat("manifest.json gives no shape for ", piece.id.tensor));
    const std::span<const index_t> dims = shape->second.dims();
    return {{dims.begin(), dims.end()}, region_in_tensor(shape->second, piece.id.matrix, piece.rows)};
}

}  // namespace sy::runtime::detail
