#include <algorithm>
#include <cmath>
#include <set>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/interchange/gguf/convert.hpp"
#include "runtime/interchange/gguf/split.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/interchange/our_tensors.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using Source = ForeignPart::Source;

/// A block of theirs that lies in a matrix of ours.
struct Place {
    const ForeignPart* part;
    const gguf::Tensor* tensor;
};

class Importer {
  public:
    Importer(const gguf::SplitReader& reader, const ForeignModel& model) : reader_(reader) {
        std::map<std::string_view, const gguf::Tensor*> stored;
        for (const gguf::Tensor& tensor : reader.header().tensors) stored[tensor.name] = &tensor;
        for (const ForeignTensor& tensor : model.tensors) {
            for (const ForeignPart& part : tensor.parts) {
                const Place place{&part, stored.at(tensor.name)};
                if (part.source == Source::weight) {
                    places_[{Kind::weight, part.tensor, part.matrix}].push_back(place);
                } else if (part.source == Source::router_state) {
                    const std::vector<float> values = block(place);
                    router_[part.tensor] = {values.begin(), values.end()};
                } else if (part.source == Source::constant) {
                    check_constant(place);
                }
            }
        }
        for (const ForeignTensor& tensor : model.tensors) {
            for (const ForeignPart& part : tensor.parts)
                if (part.source == Source::repeated) check_repeated({&part, stored.at(tensor.name)});
        }
    }

    const std::map<std::string, std::vector<double>>& router() const { return router_; }

    /// Rows of a matrix of ours.
    void fill(const ReshardPart& wanted, std::span<float> values) const {
        if (wanted.id.kind != Kind::weight) {
            std::ranges::fill(values, 0.0F);
            return;
        }
        for (const Place& place : places_.at(wanted.id)) {
            const ForeignPart& part = *place.part;
            const std::vector<float> theirs = block(place);
            const Range rows{std::max(part.rows.begin, wanted.rows.begin),
                             std::min(part.rows.end, wanted.rows.end)};
            for (index_t row = rows.begin; row < rows.end; ++row) {
                std::copy_n(theirs.begin() + (row - part.rows.begin) * part.cols.size(), part.cols.size(),
                            values.begin() + (row - wanted.rows.begin) * wanted.cols + part.cols.begin);
            }
        }
    }

  private:
    /// The values of a part in the order of ours.
    std::vector<float> block(const Place& place) const {
        const Range rows = place.part->foreign_rows();
        const index_t cols = foreign_size(place.tensor->shape).cols;
        std::vector<float> theirs(static_cast<std::size_t>(rows.size() * cols));
        reader_.read(*place.tensor, rows.begin * cols, theirs);
        if (!all_finite(theirs))
            throw IoError(concat("import: ", place.tensor->name, " has a value that is not finite"));
        std::vector<float> ours(static_cast<std::size_t>(place.part->num_values()));
        take_part(*place.part, MatrixView<const float>{theirs.data(), rows.size(), cols}, ours);
        return ours;
    }

    void check_constant(const Place& place) const {
        std::vector<float> values(static_cast<std::size_t>(place.tensor->shape.num_elements()));
        reader_.read(*place.tensor, 0, values);
        const float expected = place.part->addend;
        if (!std::ranges::all_of(values, [&](float value) { return value == expected; }))
            throw IoError(concat("import: ", place.tensor->name, " is not ", expected,
                                 " everywhere, and there is no such tensor here"));
    }

    /// A tensor that is another one, perhaps scaled. Rounded to fewer bits it is not compared.
    void check_repeated(const Place& place) const {
        if (place.tensor->storage != Storage::f32) return;
        const Shape& shape = place.tensor->shape;
        std::vector<float> found(static_cast<std::size_t>(shape.num_elements()));
        reader_.read(*place.tensor, 0, found);
        const Place& original = places_.at({Kind::weight, place.part->tensor, place.part->matrix}).front();
        const std::vector<float> ours = block(original);
        std::vector<float> expected(found.size());
        const ForeignSize size = foreign_size(shape);
        put_part(*place.part, ours, MatrixView<float>{expected.data(), size.rows, size.cols});
        if (found != expected)
            throw IoError(concat("import: ", place.tensor->name, " is not ", place.part->factor, " times ",
                                 original.tensor->name, ", as it is in this model"));
    }

    const gguf::SplitReader& reader_;
    std::map<MatrixId, std::vector<Place>> places_;
    std::map<std::string, std::vector<double>> router_;
};

/// The tokenizer of a file as transformers has it, beside the checkpoint.
ImportedTokenizer write_tokenizer(const gguf::Header& header, const fs::path& new_checkpoint) {
    const std::optional<gguf::TokenizerText> text = gguf::read_tokenizer(header);
    if (!text) return {};
    return {new_checkpoint, [&](const fs::path& folder) {
                detail::write_text(folder / "tokenizer.json", text->tokenizer);
                detail::write_text(folder / "tokenizer_config.json", text->config);
            }};
}

}  // namespace

namespace gguf {

std::vector<std::string> tensor_problems(const ForeignModel& model, const Header& header) {
    std::vector<std::string> problems;
    std::map<std::string_view, const Tensor*> left;
    for (const Tensor& tensor : header.tensors) left[tensor.name] = &tensor;
    for (const ForeignTensor& wanted : model.tensors) {
        const auto found = left.find(wanted.name);
        if (found == left.end()) {
            problems.push_back(concat("there is no tensor ", wanted.name, " ", wanted.shape.to_string()));
            continue;
        }
        if (found->second->shape != wanted.shape)
            problems.push_back(concat("tensor ", wanted.name, " is ", found->second->shape.to_string(),
                                      ", expected ", wanted.shape.to_string()));
        left.erase(found);
    }
    for (const auto& [name, tensor] : left)
        problems.push_back(concat("tensor ", name, " ", tensor->shape.to_string(), " has no place here"));
    return problems;
}

}  // namespace gguf

std::vector<std::string> import_gguf(const fs::path& file, const fs::path& new_checkpoint,
                                     TokenizerImport tokenizer_import) {
    const fs::path settings = new_checkpoint.string() + ".conf";
    for (const fs::path& path : {new_checkpoint, settings})
        if (fs::exists(fs::symlink_status(path)))
            throw IoError(concat("import: ", path.string(), " exists; give another name"));
    const gguf::SplitReader reader(file);
    Config config = gguf::read_settings(reader.header());
    const OurTensors ours = our_tensors(config);
    const gguf::GgufModel described =
        gguf::describe(config, gguf::architecture_of(reader.header()), ours.shapes, ours.router_state);
    std::string problems;
    for (const std::string& problem : gguf::tensor_problems(described.model, reader.header()))
        problems += "\n" + problem;
    if (!problems.empty()) throw IoError(concat(file.string(), " cannot be imported:", problems));
    ImportedTokenizer tokenizer = tokenizer_import == TokenizerImport::take_over
                                      ? write_tokenizer(reader.header(), new_checkpoint)
                                      : ImportedTokenizer();
    if (tokenizer.setting()) config.data.tokenizer = *tokenizer.setting();
    const Importer importer(reader, described.model);
    Manifest manifest;
    manifest.config = dump(config);
    manifest.shapes = ours.shapes;
    manifest.written_on = concat("imported from ", file.filename().string());
    manifest.state.seed = config.train.seed;
    manifest.state.router = importer.router();
    const auto fill = [&](const ReshardPart& part, std::span<float> values) { importer.fill(part, values); };
    const auto check = [](const Manifest& written) {
        const std::vector<std::string> missing = coverage_problems(written);
        if (!missing.empty()) throw IoError(concat("import: ", missing[0]));
    };
    const ReshardPlan plan = plan_reshard(manifest.shapes, 1);
    write_checkpoint(new_checkpoint, {std::move(manifest), fill, check}, plan);
    detail::write_text(settings, dump(config));
    tokenizer.keep();
    return tokenizer.notes();
}

}  // namespace sy::runtime
