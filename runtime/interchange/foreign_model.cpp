#include "runtime/interchange/foreign_model.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime {
namespace {

using Source = ForeignPart::Source;

/// A block of a matrix.
struct Block {
    Range rows;
    Range cols;
    index_t num_values() const { return rows.size() * cols.size(); }
    std::string to_string() const {
        return concat("rows ", rows.begin, "-", rows.end, ", columns ", cols.begin, "-", cols.end);
    }
};

bool lies_in(const Block& block, index_t num_rows, index_t num_cols) {
    return block.rows.begin >= 0 && block.rows.begin < block.rows.end && block.rows.end <= num_rows &&
           block.cols.begin >= 0 && block.cols.begin < block.cols.end && block.cols.end <= num_cols;
}

bool overlap(Range left, Range right) {
    return left.begin < right.end && right.begin < left.end;
}

/// What keeps the blocks from covering a matrix exactly once.
class Coverage {
  public:
    Coverage(std::string name, index_t num_rows, index_t num_cols, std::vector<std::string>& problems)
        : name_(std::move(name)), rows_(num_rows), cols_(num_cols), problems_(problems) {}

    void check(std::vector<Block> blocks) {
        index_t covered = 0;
        for (const Block& block : blocks) {
            if (!lies_in(block, rows_, cols_)) {
                problem(concat(block.to_string(), " do not lie in it"));
                return;
            }
            covered += block.num_values();
        }
        std::ranges::sort(blocks, {}, [](const Block& block) { return block.rows.begin; });
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            for (std::size_t k = i + 1; k < blocks.size() && blocks[k].rows.begin < blocks[i].rows.end; ++k) {
                if (!overlap(blocks[i].cols, blocks[k].cols)) continue;
                problem(concat(blocks[k].to_string(), " are there twice"));
                return;
            }
        }
        if (covered != rows_ * cols_)
            problem(concat(rows_ * cols_ - covered, " of ", rows_ * cols_, " values are in no part"));
    }

  private:
    void problem(const std::string& text) {
        problems_.push_back(concat(name_, " [", rows_, ", ", cols_, "]: ", text));
    }

    std::string name_;
    index_t rows_;
    index_t cols_;
    std::vector<std::string>& problems_;
};

bool fits_heads(const ForeignPart& part) {
    const RotaryOrder& order = part.order;
    if (order.change == RotaryOrder::Change::none) return true;
    return order.head_dim > 0 && part.cols.begin % order.head_dim == 0 &&
           part.cols.end % order.head_dim == 0 && order.first >= 0 && order.width >= 0 &&
           order.width % 2 == 0 && order.first + order.width <= order.head_dim;
}

/// Calls body(row of ours, column of ours, row of theirs, column of theirs) for a block, all from its beginning, in
/// squares that fit a cache whichever side is transposed.
template <class Body>
void for_each_place(const ForeignPart& part, const Body& body) {
    constexpr index_t kSide = 64;
    std::vector<index_t> foreign_cols(static_cast<std::size_t>(part.cols.size()));
    for (index_t col = 0; col < part.cols.size(); ++col)
        foreign_cols[static_cast<std::size_t>(col)] = part.order.foreign_col(col);
    for (index_t top = 0; top < part.rows.size(); top += kSide) {
        for (index_t left = 0; left < part.cols.size(); left += kSide) {
            const index_t bottom = std::min(top + kSide, part.rows.size());
            const index_t right = std::min(left + kSide, part.cols.size());
            for (index_t row = top; row < bottom; ++row) {
                for (index_t col = left; col < right; ++col) {
                    const index_t placed = foreign_cols[static_cast<std::size_t>(col)];
                    if (part.orientation == Orientation::transposed) {
                        body(row, col, placed, row);
                    } else {
                        body(row, col, row, placed);
                    }
                }
            }
        }
    }
}

}  // namespace

index_t RotaryOrder::foreign_col(index_t col) const {
    if (change == Change::none) return col;
    const index_t place = col % head_dim - first;
    if (place < 0 || place >= width) return col;
    const index_t half = width / 2;
    const index_t start = col - place;
    if (change == Change::halves_to_pairs) return start + 2 * (place % half) + place / half;
    return start + place / 2 + (place % 2) * half;
}

Range ForeignPart::foreign_rows() const {
    const index_t size = orientation == Orientation::transposed ? cols.size() : rows.size();
    return {foreign_row, foreign_row + size};
}

Range ForeignPart::foreign_cols() const {
    const index_t size = orientation == Orientation::transposed ? rows.size() : cols.size();
    return {foreign_col, foreign_col + size};
}

ForeignSize foreign_size(const Shape& shape) {
    ForeignSize size;
    for (int dim = 0; dim + 1 < shape.num_dims(); ++dim) size.rows *= shape[dim];
    if (shape.num_dims() > 0) size.cols = shape[shape.num_dims() - 1];
    return size;
}

std::vector<std::string> layout_problems(const ForeignModel& model, const std::map<std::string, Shape>& ours,
                                         const std::map<std::string, index_t>& router_state) {
    std::vector<std::string> problems;
    std::set<std::string> names;
    std::map<std::pair<std::string, index_t>, std::vector<Block>> weights;
    std::map<std::string, std::vector<Block>> states;
    for (const ForeignTensor& tensor : model.tensors) {
        if (!names.insert(tensor.name).second) problems.push_back(concat(tensor.name, " is there twice"));
        std::vector<Block> blocks;
        for (const ForeignPart& part : tensor.parts) {
            blocks.push_back({part.foreign_rows(), part.foreign_cols()});
            if (!fits_heads(part)) {
                problems.push_back(concat(tensor.name, ": columns ", part.cols.begin, "-", part.cols.end,
                                          " of ", part.tensor, " are no whole heads of ",
                                          part.order.head_dim));
            }
            if (part.source == Source::weight)
                weights[{part.tensor, part.matrix}].push_back({part.rows, part.cols});
            if (part.source == Source::router_state) states[part.tensor].push_back({part.rows, part.cols});
        }
        const ForeignSize size = foreign_size(tensor.shape);
        Coverage(tensor.name, size.rows, size.cols, problems).check(std::move(blocks));
    }
    for (const auto& [name, shape] : ours) {
        const MatrixShape size = matrix_shape(shape);
        for (index_t matrix = 0; matrix < size.matrices; ++matrix) {
            const auto found = weights.extract({name, matrix});
            Coverage(concat(name, "[", matrix, "]"), size.rows, size.cols, problems)
                .check(found.empty() ? std::vector<Block>{} : found.mapped());
        }
    }
    for (const auto& [name, length] : router_state) {
        const auto found = states.extract(name);
        Coverage(concat("state of router ", name), 1, length, problems)
            .check(found.empty() ? std::vector<Block>{} : found.mapped());
    }
    for (const auto& [id, blocks] : weights)
        problems.push_back(concat("there is no ", id.first, "[", id.second, "]"));
    for (const auto& [name, blocks] : states)
        problems.push_back(concat("there is no state of router ", name));
    return problems;
}

namespace {

/// to(r, c) = change(from(r, c))
template <class Change>
void copy_rows(MatrixView<const float> from, MatrixView<float> to, const Change& change) {
    for (index_t row = 0; row < from.rows; ++row)
        std::ranges::transform(from.row_span(row), to.row(row), change);
}

/// to(c, r) = change(from(r, c)). Each cache line of either side is touched once, however far apart its rows lie.
template <class Change>
void transpose(MatrixView<const float> from, MatrixView<float> to, const Change& change) {
    constexpr index_t kSide = 16;
    float square[kSide][kSide];
    for (index_t top = 0; top < from.rows; top += kSide) {
        const index_t height = std::min(kSide, from.rows - top);
        for (index_t left = 0; left < from.cols; left += kSide) {
            const index_t width = std::min(kSide, from.cols - left);
            for (index_t r = 0; r < height; ++r)
                for (index_t c = 0; c < width; ++c) square[c][r] = from(top + r, left + c);
            for (index_t c = 0; c < width; ++c)
                for (index_t r = 0; r < height; ++r) to(left + c, top + r) = change(square[c][r]);
        }
    }
}

}  // namespace

void put_part(const ForeignPart& part, std::span<const float> ours, MatrixView<float> theirs) {
    const MatrixView<float> place = theirs.rows_of(part.foreign_rows()).cols_of(part.foreign_cols());
    if (!part.has_values()) {
        for (index_t row = 0; row < place.rows; ++row) std::ranges::fill(place.row_span(row), part.addend);
        return;
    }
    const MatrixView<const float> block{ours.data(), part.rows.size(), part.cols.size()};
    const auto put = [&](const auto& change) {
        if (part.order.change != RotaryOrder::Change::none) {
            for_each_place(part, [&](index_t row, index_t col, index_t foreign_row, index_t foreign_col) {
                place(foreign_row, foreign_col) = change(block(row, col));
            });
        } else if (part.orientation == Orientation::transposed) {
            transpose(block, place, change);
        } else {
            copy_rows(block, place, change);
        }
    };
    if (part.changes_values()) {
        put([&](float value) { return part.factor * value + part.addend; });
    } else {
        put([](float value) { return value; });
    }
}

void take_part(const ForeignPart& part, MatrixView<const float> theirs, std::span<float> ours) {
    const MatrixView<const float> place =
        theirs.rows_of({0, part.foreign_rows().size()}).cols_of(part.foreign_cols());
    const MatrixView<float> block{ours.data(), part.rows.size(), part.cols.size()};
    const auto take = [&](const auto& change) {
        if (part.order.change != RotaryOrder::Change::none) {
            for_each_place(part, [&](index_t row, index_t col, index_t foreign_row, index_t foreign_col) {
                block(row, col) = change(place(foreign_row, foreign_col));
            });
        } else if (part.orientation == Orientation::transposed) {
            transpose(place, block, change);
        } else {
            copy_rows(place, block, change);
        }
    };
    if (part.changes_values()) {
        take([&](float value) { return (value - part.addend) / part.factor; });
    } else {
        take([](float value) { return value; });
    }
}

}  // namespace sy::runtime
