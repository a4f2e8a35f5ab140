#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/checkpoint/checkpoint.hpp"
#include "runtime/checkpoint/value_memory.hpp"
#include "runtime/interchange/foreign_model.hpp"

namespace sy::runtime {

/// Numbers of each router of a checkpoint, by its name, for layout_problems.
std::map<std::string, index_t> router_state_sizes(const TrainingState& state);

/// The values of a foreign tensor, from a checkpoint. Holds one of our matrices beside them.
/// @param values  as many as tensor.shape has elements, row-major
/// @pre           the tensor's model has no layout_problems() with this checkpoint
/// @throws IoError naming a missing or altered part, or one with a value that is not finite
void read_foreign(const ForeignTensor& tensor, const CheckpointReader& reader, std::span<float> values);

/// Our matrices from tensors of another program: the inverse of read_foreign. Several threads may read at once.
class OurMatrices {
  public:
    /// Gives rows of a foreign tensor as a matrix whose columns are its last dimension.
    using ReadRows = std::function<void(const ForeignTensor& tensor, Range rows, std::span<float> values)>;
    struct Place {
        const ForeignTensor* tensor;
        const ForeignPart* part;
    };
    /// @param model  borrowed
    OurMatrices(const ForeignModel& model, ReadRows read_rows);

    /// The values of a part, [rows, cols] as ours.
    ValueMemory block(const Place& place) const;
    /// All values of a matrix, [rows, cols].
    void read(const MatrixId& id, index_t cols, std::span<float> values) const;
    /// Where the values of a matrix lie.
    const std::vector<Place>& places_of(const MatrixId& id) const { return places_.at(id); }

  private:
    void take(const Place& place, std::span<float> ours) const;

    ReadRows read_rows_;
    std::map<MatrixId, std::vector<Place>> places_;
};

}  // namespace sy::runtime
