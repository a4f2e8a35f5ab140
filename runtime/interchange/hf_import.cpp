#include "runtime/interchange/hf_import.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "runtime/checkpoint/files.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/hf_family.hpp"
#include "runtime/interchange/hf_weights.hpp"
#include "runtime/interchange/imported_checkpoint.hpp"
#include "runtime/interchange/our_tensors.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;
using Source = ForeignPart::Source;

constexpr index_t kMostConfigBytes = 10'000'000;
constexpr const char* kStack = "transformer.";

/// How the experts lie in a folder, by names and shapes.
ExpertLayout expert_layout(const TensorShapes& theirs, const Config& config) {
    for (const auto& [name, shape] : theirs) {
        if (!name.ends_with(".experts.down_proj") || shape.num_dims() != 3) continue;
        return shape[1] == config.model.hidden ? ExpertLayout::fused : ExpertLayout::fused_in_out;
    }
    return ExpertLayout::separate;
}

/// Buffers that older versions have written beside the weights and that are computed, and a table of T5's that its class
/// does not read.
bool is_computed(const std::string& name) {
    return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".embeddings.position_ids") ||
           name.ends_with(".EncDecAttention.relative_attention_bias.weight") ||
           name.ends_with(".attn.masked_bias") ||
           (name.ends_with(".attn.bias") && name.find(".h.") != std::string::npos);
}

/// Parts of BERT for another task than predicting words.
bool is_of_another_head(const std::string& name) {
    return name.starts_with("bert.pooler.") || name.starts_with("cls.seq_relationship.");
}

/// Tensors that some files hold twice, by the name that is left out here and what it repeats.
struct Repeated {
    const char* name;
    const char* ours;
};
constexpr std::array kRepeated{Repeated{"lm_head.weight", "embedding.weight"},
                               Repeated{"cls.predictions.decoder.weight", "embedding.weight"},
                               Repeated{"cls.predictions.decoder.bias", "head.bias"},
                               Repeated{"encoder.embed_tokens.weight", "embedding.weight"},
                               Repeated{"decoder.embed_tokens.weight", "embedding.weight"}};

/// A tensor that is written although it is another one: it has to be equal.
void add_repeated(const TensorShapes& theirs, ForeignModel& model) {
    for (const Repeated& repeated : kRepeated) {
        const auto is_named = [&](const ForeignTensor& tensor) { return tensor.name == repeated.name; };
        if (!theirs.contains(repeated.name) || std::ranges::any_of(model.tensors, is_named)) continue;
        const auto original = std::ranges::find_if(model.tensors, [&](const ForeignTensor& tensor) {
            return tensor.parts.size() == 1 && tensor.parts[0].tensor == repeated.ours &&
                   tensor.parts[0].source == Source::weight;
        });
        if (original == model.tensors.end()) continue;
        ForeignTensor copy = *original;
        copy.name = repeated.name;
        copy.parts[0].source = Source::repeated;
        model.tensors.push_back(std::move(copy));
    }
}

/// Files of a model without its head leave the first name out, as those of GPT-2 on the hub do.
void fit_names(const TensorShapes& theirs, ForeignModel& model) {
    const auto has_stack = [](const auto& tensor) { return tensor.first.starts_with(kStack); };
    if (std::ranges::any_of(theirs, has_stack)) return;
    for (ForeignTensor& tensor : model.tensors)
        if (tensor.name.starts_with(kStack)) tensor.name.erase(0, std::string_view(kStack).size());
}

/// Every tensor that is missing, unknown or of another shape.
void check_tensors(const ForeignModel& model, const TensorShapes& theirs) {
    std::vector<std::string> problems;
    std::map<std::string, Shape> unknown = theirs;
    for (const ForeignTensor& tensor : model.tensors) {
        const auto found = unknown.extract(tensor.name);
        if (found.empty()) {
            if (tensor.shape.num_elements() > 0)
                problems.push_back(
                    concat("import: ", tensor.name, " ", tensor.shape.to_string(), " is missing"));
        } else if (found.mapped() != tensor.shape) {
            problems.push_back(concat("import: ", tensor.name, " is ", found.mapped().to_string(),
                                      ", by config.json it should be ", tensor.shape.to_string()));
        }
    }
    for (const auto& [name, shape] : unknown) {
        if (!is_computed(name) && !is_of_another_head(name))
            problems.push_back(
                concat("import: ", name, " ", shape.to_string(), " has no place in this model"));
    }
    if (!problems.empty()) throw ConfigError(problems);
}

/// What must be equal: tensors that ours has not, and weights that are there twice. Also reads the state of routers.
std::map<std::string, std::vector<double>> check_values(const ForeignModel& model, const TensorShapes& ours,
                                                        const OurMatrices& matrices) {
    std::map<std::string, std::vector<double>> state;
    std::vector<std::string> problems;
    for (const ForeignTensor& tensor : model.tensors) {
        for (const ForeignPart& part : tensor.parts) {
            if (part.source == Source::weight || part.source == Source::unused) continue;
            if (part.source == Source::constant) {
                ForeignPart plain = part;
                plain.addend = 0.0F;
                const ValueMemory values = matrices.block({&tensor, &plain});
                if (!std::ranges::all_of(values.values(), [&](float value) { return value == part.addend; }))
                    problems.push_back(concat("import: ", tensor.name, " must be ", part.addend,
                                              " everywhere: this model has no such parameter"));
                continue;
            }
            const ValueMemory block = matrices.block({&tensor, &part});
            const std::span<const float> values = block.values();
            if (part.source == Source::router_state) {
                state[part.tensor].assign(values.begin(), values.end());
                continue;
            }
            const MatrixShape size = matrix_shape(ours.at(part.tensor));
            std::vector<float> original(static_cast<std::size_t>(size.rows * size.cols));
            matrices.read({Kind::weight, part.tensor, part.matrix}, size.cols, original);
            if (!std::ranges::equal(values, original))
                problems.push_back(concat("import: ", tensor.name, " is not equal to ", part.tensor,
                                          ", with which this model shares it"));
        }
    }
    if (!problems.empty()) throw ConfigError(problems);
    return state;
}

Manifest first_manifest(const Config& config, const TensorShapes& shapes) {
    Manifest manifest;
    manifest.config = dump(config);
    manifest.shapes = shapes;
    manifest.state.seed = config.train.seed;
    return manifest;
}

}  // namespace

HfImported import_hf(const fs::path& folder, const fs::path& new_checkpoint,
                     TokenizerImport tokenizer_import) {
    const Json config_json = Json::parse(
        detail::read_regular_text(folder / "config.json", kMostConfigBytes, detail::Links::followed));
    const HfConfig found = read_hf_config(config_json);
    Config config = found.config;
    const HfWeights weights(folder);
    const TensorShapes theirs = weights.shapes();
    HfImported result{
        .architecture = std::string(found.family->architecture), .config_file = {}, .notes = {}};
    const std::string first_module = concat("model.layers.", config.model.layers, ".");
    const bool has_modules = std::ranges::any_of(
        theirs, [&](const auto& tensor) { return tensor.first.starts_with(first_module); });
    if (config.model.mtp_depth > 0 && !has_modules) {
        config.model.mtp_depth = 0;
        result.notes.emplace_back(
            "the modules of multi-token prediction that config.json counts are not among the weights");
    }
    if (fs::exists(new_checkpoint))
        throw IoError(concat(new_checkpoint.string(), " exists already and is not overwritten"));
    ImportedTokenizer tokenizer = tokenizer_import == TokenizerImport::take_over
                                      ? import_tokenizer(folder, new_checkpoint)
                                      : ImportedTokenizer();
    if (tokenizer.setting()) config.data.tokenizer = *tokenizer.setting();
    std::ranges::move(tokenizer.notes(), std::back_inserter(result.notes));
    if (config_json.find("expert_capacity") != nullptr) {
        result.notes.push_back(
            concat("expert_capacity = ", config_json.find("expert_capacity")->text(),
                   ": the class drops the tokens of a sequence beyond it, here none is dropped"));
    }
    if (std::ranges::any_of(theirs, [](const auto& tensor) { return is_of_another_head(tensor.first); }))
        result.notes.emplace_back("the pooler and the head of next-sentence prediction are left out");
    const TensorShapes ours = our_tensors(config).shapes;
    ForeignModel model = found.family->tensors(config, ours, expert_layout(theirs, config));
    fit_names(theirs, model);
    add_repeated(theirs, model);
    check_tensors(model, theirs);
    const OurMatrices matrices(model, [&](const ForeignTensor& tensor, Range rows, std::span<float> values) {
        weights.read_rows(tensor.name, rows, values);
    });
    Manifest manifest = first_manifest(config, ours);
    manifest.state.router = check_values(model, ours, matrices);
    manifest.written_on = concat("imported from a ", result.architecture);
    const std::vector<std::string> problems =
        layout_problems(model, ours, router_state_sizes(manifest.state));
    SY_REQUIRE(problems.empty(), "import of a ", result.architecture, ": ", problems[0]);

    result.config_file = fs::path(new_checkpoint.string() + ".conf");
    if (fs::exists(result.config_file))
        throw IoError(concat(result.config_file.string(), " exists already and is not overwritten"));
    write_imported(new_checkpoint, std::move(manifest), matrices);
    tokenizer.keep();
    return result;
}

}  // namespace sy::runtime
