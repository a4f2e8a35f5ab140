#include "runtime/interchange/imported_checkpoint.hpp"

#include <system_error>
#include <utility>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/interchange/unfinished_file.hpp"

namespace sy::runtime {

namespace fs = std::filesystem;

void write_imported(const fs::path& new_checkpoint, Manifest manifest, const OurMatrices& matrices) {
    const UnfinishedFile settings("import", new_checkpoint.string() + ".conf");
    detail::write_text(settings.path(), manifest.config);
    const std::map<std::string, Shape> shapes = manifest.shapes;
    const auto fill = [&](const ReshardPart& part, std::span<float> values) {
        SY_REQUIRE(part.rows == (Range{0, matrix_shape(shapes.at(part.id.tensor)).rows}),
                   "import: a part of ", part.id.to_string());
        matrices.read(part.id, part.cols, values);
    };
    const auto check = [](const Manifest& written) {
        const std::vector<std::string> missing = coverage_problems(written);
        if (!missing.empty()) throw IoError(concat("import: ", missing[0]));
    };
    write_checkpoint(new_checkpoint,
                     {.manifest = std::move(manifest),
                      .fill = fill,
                      .check = check,
                      .moments = NewCheckpoint::Moments::zero,
                      .filling = NewCheckpoint::Filling::in_threads},
                     plan_reshard(shapes, 1));
    try {
        settings.publish();
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(new_checkpoint, ignored);
        throw;
    }
}

}  // namespace sy::runtime
