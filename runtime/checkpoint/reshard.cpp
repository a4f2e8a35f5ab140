#include "runtime/checkpoint/reshard.hpp"

#include <algorithm>
#include <array>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/checkpoint/shard_file.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

/// Rows whose first value lies in [part.begin, part.end) of a matrix that begins at `offset`.
Range rows_in(Range part, index_t offset, const MatrixShape& size) {
    const auto row_of = [&](index_t place) {
        return std::clamp(ceil_div(std::max<index_t>(0, place - offset), size.cols), index_t{0}, size.rows);
    };
    return {row_of(part.begin), row_of(part.end)};
}

bool is_zero(const NewCheckpoint& checkpoint, const ReshardPart& part) {
    return checkpoint.moments == NewCheckpoint::Moments::zero && part.id.kind != Kind::weight;
}

/// row_checksum of a part that is zero.
std::uint64_t checksum_of_zeros(const ReshardPart& part) {
    const std::vector<float> zeros(static_cast<std::size_t>(part.cols));
    std::uint64_t sum = 0;
    for (index_t row = part.rows.begin; row < part.rows.end; ++row)
        sum += row_checksum(zeros, part.cols, row);
    return sum;
}

/// The checksums of parts that are zero, by first row, last row and columns: many parts have the same.
class ZeroChecksums {
  public:
    ZeroChecksums(const NewCheckpoint& checkpoint, const ReshardPlan::File& file) {
        for (const ReshardPart& part : file.parts) {
            if (!is_zero(checkpoint, part)) continue;
            const auto [known, fresh] = known_.try_emplace(key_of(part), 0);
            if (fresh) known->second = checksum_of_zeros(part);
        }
    }
    std::uint64_t of(const ReshardPart& part) const { return known_.at(key_of(part)); }

  private:
    using Key = std::array<index_t, 3>;
    static Key key_of(const ReshardPart& part) { return {part.rows.begin, part.rows.end, part.cols}; }
    std::map<Key, std::uint64_t> known_;
};

Manifest write_file(const NewCheckpoint& checkpoint, const fs::path& folder, const ReshardPlan::File& file) {
    std::vector<Piece> pieces;
    for (const ReshardPart& part : file.parts)
        pieces.push_back({part.id, checkpoint.manifest.shapes.at(part.id.tensor), part.rows, part.cols, {}});
    const ZeroChecksums zeros(checkpoint, file);
    const auto values_of = [&](std::size_t idx) {
        const ReshardPart& part = file.parts[idx];
        if (is_zero(checkpoint, part)) return detail::PieceValues{{}, zeros.of(part)};
        ValueMemory memory(part.rows.size() * part.cols);
        checkpoint.fill(part, memory.values());
        const std::span<const float> values = memory.values();
        return detail::PieceValues{values, row_checksum(values, part.cols, part.rows.begin),
                                   std::move(memory)};
    };
    return detail::write_shard_file(
        folder, file.name, pieces, values_of,
        checkpoint.filling == NewCheckpoint::Filling::in_threads ? all_processors_ahead() : AheadLimit());
}

}  // namespace

index_t ReshardPlan::File::num_values() const {
    index_t values = 0;
    for (const ReshardPart& part : parts) values += part.rows.size() * part.cols;
    return values;
}

std::string ReshardPlan::to_string() const {
    std::string text;
    for (const File& file : files)
        text += concat(file.name, ": ", file.parts.size(), " pieces, ", file.num_values(), " values\n");
    return text;
}

ReshardPlan plan_reshard(const std::map<std::string, Shape>& shapes, index_t num_files) {
    index_t total = 0;
    for (const auto& [name, shape] : shapes) total += shape.num_elements();
    ReshardPlan plan;
    for (index_t file_idx = 0; file_idx < num_files; ++file_idx) {
        ReshardPlan::File file{detail::shard_name(file_idx), {}};
        const Range share = part_of(total, num_files, file_idx);
        for (const Kind kind : kKinds) {
            index_t offset = 0;
            for (const auto& [name, shape] : shapes) {
                const MatrixShape size = matrix_shape(shape);
                for (index_t matrix = 0; matrix < size.matrices; ++matrix) {
                    const Range rows = rows_in(share, offset, size);
                    if (rows.size() > 0) file.parts.push_back({{kind, name, matrix}, rows, size.cols});
                    offset += size.rows * size.cols;
                }
            }
        }
        plan.files.push_back(std::move(file));
    }
    return plan;
}

void write_checkpoint(const fs::path& new_folder, NewCheckpoint checkpoint, const ReshardPlan& plan) {
    detail::write_new_folder(new_folder, [&](const fs::path& unfinished) {
        Manifest& manifest = checkpoint.manifest;
        manifest.layout = CheckpointLayout::sharded;
        manifest.files.clear();
        manifest.pieces.clear();
        for (const ReshardPlan::File& file : plan.files)
            manifest.add(write_file(checkpoint, unfinished, file));
        checkpoint.check(manifest);
        detail::write_virtual_model(unfinished, manifest);
        detail::write_text(unfinished / "manifest.json", write_manifest(manifest));
    });
}

void reshard_checkpoint(const fs::path& from, const fs::path& new_folder, const ReshardPlan& plan) {
    const CheckpointReader reader(from);
    const auto fill = [&](const ReshardPart& part, std::span<float> values) {
        reader.read(part.id.kind, part.id.tensor, part.id.matrix, part.rows, part.cols, values);
    };
    const auto check = [&](const Manifest& written) {
        if (written.matrix_checksums() != reader.manifest().matrix_checksums() ||
            !coverage_problems(written).empty())
            throw IoError(concat("the plan does not hold every row of ", from.string(), " once"));
    };
    write_checkpoint(new_folder,
                     {.manifest = reader.manifest(),
                      .fill = fill,
                      .check = check,
                      .filling = NewCheckpoint::Filling::in_threads},
                     plan);
}

}  // namespace sy::runtime
