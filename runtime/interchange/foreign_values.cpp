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
        const std::span<const float> rows = rows_.values();
        if (part.cols == Range{0, num_cols}) return rows;
        block_.clear();
        for (index_t row = 0; row < part.rows.size(); ++row) {
            const auto first = rows.begin() + row * num_cols;
            block_.insert(block_.end(), first + part.cols.begin, first + part.cols.end);
        }
        return block_;
    }

  private:
    index_t read_weight(const ForeignPart& part) {
        const MatrixShape size = matrix_shape(reader_.manifest().shapes.at(part.tensor));
        const MatrixId id{part.kind, part.tensor, part.matrix};
        if (id == id_ && part.rows == range_) return size.cols;
        rows_ = ValueMemory(part.rows.size() * size.cols);
        reader_.read(part.kind, part.tensor, part.matrix, part.rows, size.cols, rows_.values());
        if (!all_finite(rows_.values())) {
            throw IoError(concat("export: ", id.to_string(),
                                 " has a value that is not finite; go back to an earlier checkpoint"));
        }
        id_ = id;
        range_ = part.rows;
        return size.cols;
    }

    index_t read_state(const ForeignPart& part) {
        const std::vector<double>& state = reader_.manifest().state.router.at(part.tensor);
        rows_ = ValueMemory(std::ssize(state));
        std::ranges::transform(state, rows_.values().begin(),
                               [](double value) { return static_cast<float>(value); });
        id_ = {};
        return static_cast<index_t>(state.size());
    }

    const CheckpointReader& reader_;
    MatrixId id_;
    Range range_;
    ValueMemory rows_;
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

OurMatrices::OurMatrices(const ForeignModel& model, ReadRows read_rows) : read_rows_(std::move(read_rows)) {
    for (const ForeignTensor& tensor : model.tensors) {
        for (const ForeignPart& part : tensor.parts) {
            if (part.source == Source::weight)
                places_[{Kind::weight, part.tensor, part.matrix}].push_back({&tensor, &part});
        }
    }
}

void OurMatrices::take(const Place& place, std::span<float> ours) const {
    const Range rows = place.part->foreign_rows();
    const index_t cols = foreign_size(place.tensor->shape).cols;
    ValueMemory theirs(rows.size() * cols);
    read_rows_(*place.tensor, rows, theirs.values());
    take_part(*place.part, {theirs.values().data(), rows.size(), cols}, ours);
}

ValueMemory OurMatrices::block(const Place& place) const {
    ValueMemory ours(place.part->num_values());
    take(place, ours.values());
    return ours;
}

void OurMatrices::read(const MatrixId& id, index_t cols, std::span<float> values) const {
    for (const Place& place : places_.at(id)) {
        const ForeignPart& part = *place.part;
        const auto first = values.begin() + part.rows.begin * cols;
        if (part.cols == Range{0, cols}) {
            take(place, {first, static_cast<std::size_t>(part.num_values())});
            continue;
        }
        const ValueMemory ours = block(place);
        for (index_t row = 0; row < part.rows.size(); ++row)
            std::copy_n(ours.values().begin() + row * part.cols.size(), part.cols.size(),
                        first + row * cols + part.cols.begin);
    }
}

}  // namespace sy::runtime
