#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "kernels/core/host_view.hpp"
#include "kernels/core/tensor.hpp"
#include "runtime/checkpoint/manifest.hpp"

/// A model as another program stores it, described by where each block of our matrices lies in its tensors. The same
/// description serves export and import. Our matrices are [in, out], theirs mostly [out, in].
namespace sy::runtime {

/// The order of the rotary columns of every head. halves: pairs are (i, i + R/2); pairs: neighbours (2i, 2i + 1).
struct RotaryOrder {
    enum class Change { none, halves_to_pairs, pairs_to_halves };
    Change change = Change::none;  ///< from ours to theirs
    index_t head_dim = 0;          ///< columns of a head
    index_t first = 0;             ///< where its rotary columns begin
    index_t width = 0;             ///< R

    /// Where our column of a block of whole heads lies among theirs.
    index_t foreign_col(index_t col) const;
    bool operator==(const RotaryOrder&) const = default;
};

enum class Orientation { same, transposed };

/// A block of one of our matrices and its place in a foreign tensor, which counts as a matrix whose columns are its last
/// dimension. theirs = factor * ours + addend.
struct ForeignPart {
    enum class Source {
        weight,        ///< a block of a matrix
        router_state,  ///< a row of numbers that a router carries from step to step
        constant,      ///< `addend` everywhere: a tensor that ours has not, such as a bias of zeros
        repeated,      ///< a weight that is in another part as well: on import it has to be equal
        unused         ///< values that nobody reads: `addend` on export, anything on import
    };
    Source source = Source::weight;
    std::string tensor = {};  ///< ours, or the router's name; empty for constants and what is unused
    index_t matrix = 0;       ///< index in the first of our three dimensions, else 0
    Range rows = {};          ///< of our matrix; a vector is one row
    Range cols = {};
    index_t foreign_row = 0;  ///< where the block begins in theirs
    index_t foreign_col = 0;
    Orientation orientation = Orientation::same;
    RotaryOrder order = {};    ///< of our columns
    Kind kind = Kind::weight;  ///< which values of the tensor: the weight's own, or a moment of the optimizer
    float factor = 1.0F;
    float addend = 0.0F;

    /// Whether its values are those of a weight or a state of ours.
    bool has_values() const { return source != Source::constant && source != Source::unused; }
    index_t num_values() const { return rows.size() * cols.size(); }
    /// Whether values differ, and not only their places. Else they are copied, with the sign of zeros.
    bool changes_values() const { return factor != 1.0F || addend != 0.0F; }
    /// Rows and columns of theirs that the block covers.
    Range foreign_rows() const;
    Range foreign_cols() const;
    bool operator==(const ForeignPart&) const = default;
};

struct ForeignTensor {
    std::string name;
    Shape shape;  ///< row-major, as the other program sees it
    std::vector<ForeignPart> parts;
    bool keep_f32 = false;  ///< whatever the dtype of the export is
};

struct ForeignModel {
    std::vector<ForeignTensor> tensors;
};

/// Rows and columns of a foreign tensor as a matrix: columns are the last dimension.
struct ForeignSize {
    index_t rows = 1;
    index_t cols = 1;
};
ForeignSize foreign_size(const Shape& shape);

/// What a description may not be: values of a foreign tensor or of ours that are in no part or in several, blocks that
/// leave their matrix, names that are there twice. Empty when every value of both sides is in exactly one part.
/// @param ours          shapes of our tensors by name
/// @param router_state  numbers of each router by its name
std::vector<std::string> layout_problems(const ForeignModel& model, const std::map<std::string, Shape>& ours,
                                         const std::map<std::string, index_t>& router_state);

/// Writes a block to its place. @param ours  [rows, cols] of the block; not read where it has no values
/// @param theirs  [foreign rows, foreign cols] of the whole tensor
void put_part(const ForeignPart& part, std::span<const float> ours, MatrixView<float> theirs);

/// The inverse: reads a block from its place. @param theirs  rows of the tensor from foreign_rows().begin on
void take_part(const ForeignPart& part, MatrixView<const float> theirs, std::span<float> ours);

}  // namespace sy::runtime
