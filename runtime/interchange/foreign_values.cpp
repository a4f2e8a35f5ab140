#include "runtime/interchange/foreign_values.hpp"

#include <algorithm>
#include <utility>

#include "runtime/interchange/storage.hpp"

namespace sy::runtime {
namespace {

using Source = ForeignPart::Source;

/// Rows of our matrices, of which the last ones are kept: parts that share them are one after another.
class SourceRows {
  public:
    explicit SourceRows(const CheckpointReader& reader) : reader_(reader) {}

    /// The block of a part, [rows, cols]; valid until the next call.
    std::span<const float> block(const ForeignPart& part) {
        const index_t num_cols = part.source == Source::router_state ? read_state(part) : read_weight(part);
        if (part.cols == Range{0, num_cols}) return rows_;
        block_.clear();
        for (index_t row = 0; row < part.rows.size(); ++row) {
            const auto first = rows_.begin() + row * num_cols;
            block_.insert(block_.end(), first + part.cols.begin, first + part.cols.end);
        }
        return block_;
    }

  private:
    index_t read_weight(const ForeignPart& part) {
        const MatrixShape size = matrix_shape(reader_.manifest().shapes.at(part.tensor));
        const MatrixId id{part.kind, part.tensor, part.matrix};
        if (id == id_ && part.rows == range_) return size.cols;
        rows_.resize(static_cast<std::size_t>(part.rows.size() * size.cols));
        reader_.read(part.kind, part.tensor, part.matrix, part.rows, size.cols, rows_);
        if (!all_finite(rows_)) {
            throw IoError(concat("export: ", id.to_string(),
                                 " has a value that is not finite; go back to an earlier checkpoint"));
        }
        id_ = id;
        range_ = part.rows;
        return size.cols;
    }

    index_t read_state(const ForeignPart& part) {
        const std::vector<double>& state = reader_.manifest().state.router.at(part.tensor);
        rows_.assign(state.begin(), state.end());
        id_ = {};
        return static_cast<index_t>(state.size());
    }

    const CheckpointReader& reader_;
    MatrixId id_;
    Range range_;
    std::vector<float> rows_;
    std::vector<float> block_;
};

}  // namespace

std::map<std::string, index_t> router_state_sizes(const TrainingState& state) {
    std::map<std::string, index_t> sizes;
    for (const auto& [name, values] : state.router) sizes[name] = static_cast<index_t>(values.size());
    return sizes;
}

void read_foreign(const ForeignTensor& tensor, const CheckpointReader& reader, std::span<float> values) {
    const ForeignSize size = foreign_size(tensor.shape);
    const MatrixView<float> theirs{values.data(), size.rows, size.cols};
    SourceRows rows(reader);
    for (const ForeignPart& part : tensor.parts)
        put_part(part, part.has_values() ? rows.block(part) : std::span<const float>{}, theirs);
}

}  // namespace sy::runtime
