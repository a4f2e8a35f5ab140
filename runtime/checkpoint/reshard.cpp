#include "runtime/checkpoint/reshard.hpp"

#include <algorithm>

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

Manifest write_file(const NewCheckpoint& checkpoint, const fs::path& folder, const ReshardPlan::File& file) {
    std::vector<Piece> pieces;
    for (const ReshardPart& part : file.parts)
        pieces.push_back({part.id, checkpoint.manifest.shapes.at(part.id.tensor), part.rows, part.cols, {}});
    std::vector<float> values;
    const auto values_of = [&](std::size_t idx) {
        const ReshardPart& part = file.parts[idx];
        values.resize(static_cast<std::size_t>(part.rows.size() * part.cols));
        checkpoint.fill(part, values);
        return std::span<const float>(values);
    };
    return detail::write_shard_file(folder, file.name, pieces, values_of);
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
    write_checkpoint(new_folder, {reader.manifest(), fill, check}, plan);
}

}  // namespace sy::runtime
