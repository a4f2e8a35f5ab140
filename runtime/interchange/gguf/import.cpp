#include <algorithm>

#include "runtime/checkpoint/files.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/gguf/convert.hpp"
#include "runtime/interchange/gguf/split.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/interchange/imported_checkpoint.hpp"
#include "runtime/interchange/our_tensors.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using Source = ForeignPart::Source;

class Importer {
  public:
    Importer(const gguf::SplitReader& reader, const ForeignModel& model)
        : reader_(reader),
          matrices_(model, [this](const ForeignTensor& tensor, Range rows, std::span<float> values) {
              read_rows(tensor, rows, values);
          }) {
        for (const gguf::Tensor& tensor : reader.header().tensors) stored_[tensor.name] = &tensor;
        for (const ForeignTensor& tensor : model.tensors) {
            for (const ForeignPart& part : tensor.parts) {
                if (part.source == Source::router_state) {
                    const ValueMemory values = matrices_.block({&tensor, &part});
                    router_[part.tensor] = {values.values().begin(), values.values().end()};
                } else if (part.source == Source::constant) {
                    check_constant(tensor, part);
                } else if (part.source == Source::repeated) {
                    check_repeated(tensor, part);
                }
            }
        }
    }

    const std::map<std::string, std::vector<double>>& router() const { return router_; }
    const OurMatrices& matrices() const { return matrices_; }

  private:
    void read_rows(const ForeignTensor& tensor, Range rows, std::span<float> values) const {
        reader_.read(*stored_.at(tensor.name), rows.begin * foreign_size(tensor.shape).cols, values);
        if (!all_finite(values))
            throw IoError(concat("import: ", tensor.name, " has a value that is not finite"));
    }

    /// All values of a tensor.
    ValueMemory read_all(const ForeignTensor& tensor) const {
        ValueMemory values(tensor.shape.num_elements());
        reader_.read(*stored_.at(tensor.name), 0, values.values());
        return values;
    }

    void check_constant(const ForeignTensor& tensor, const ForeignPart& part) const {
        const ValueMemory values = read_all(tensor);
        const float expected = part.addend;
        if (!std::ranges::all_of(values.values(), [&](float value) { return value == expected; }))
            throw IoError(concat("import: ", tensor.name, " is not ", expected,
                                 " everywhere, and there is no such tensor here"));
    }

    /// A tensor that is another one, perhaps scaled. Rounded to fewer bits it is not compared.
    void check_repeated(const ForeignTensor& tensor, const ForeignPart& part) const {
        if (stored_.at(tensor.name)->storage != Storage::f32) return;
        const ValueMemory found = read_all(tensor);
        const OurMatrices::Place& original =
            matrices_.places_of({Kind::weight, part.tensor, part.matrix}).front();
        const ValueMemory ours = matrices_.block(original);
        ValueMemory expected(tensor.shape.num_elements());
        const ForeignSize size = foreign_size(tensor.shape);
        put_part(part, ours.values(), MatrixView<float>{expected.values().data(), size.rows, size.cols});
        if (!std::ranges::equal(found.values(), expected.values()))
            throw IoError(concat("import: ", tensor.name, " is not ", part.factor, " times ",
                                 original.tensor->name, ", as it is in this model"));
    }

    const gguf::SplitReader& reader_;
    OurMatrices matrices_;
    std::map<std::string_view, const gguf::Tensor*> stored_;
    std::map<std::string, std::vector<double>> router_;
};

/// The tokenizer of a file as transformers has it, beside the checkpoint.
ImportedTokenizer write_tokenizer(const gguf::Header& header, const fs::path& new_checkpoint) {
    const std::optional<gguf::TokenizerText> text = gguf::read_tokenizer(header);
    if (!text) return {};
    return {new_checkpoint, [&](const fs::path& folder) {
                detail::write_text(folder / text->file, text->tokenizer);
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
    write_imported(new_checkpoint, std::move(manifest), importer.matrices());
    tokenizer.keep();
    std::vector<std::string> notes = tokenizer.notes();
    if (config.model.architecture == model::Architecture::encoder)
        notes.emplace_back(
            "the file ends with hidden states: the head that predicts masked tokens is the embedding, until "
            "it "
            "is trained");
    return notes;
}

}  // namespace sy::runtime
