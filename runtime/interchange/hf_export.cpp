#include "runtime/interchange/hf_export.hpp"

#include <array>
#include <charconv>
#include <map>

#include "runtime/checkpoint/files.hpp"
#include "runtime/checkpoint/folders.hpp"
#include "runtime/interchange/byte_tokenizer.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/hf_family.hpp"
#include "runtime/interchange/hf_moments.hpp"
#include "runtime/interchange/safetensors.hpp"
#include "runtime/interchange/stored_tensors.hpp"
#include "runtime/interchange/tokenizer_files.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBytes = "bytes";
constexpr index_t kBytesVocabulary = 256;

std::string torch_name(Storage storage) {
    switch (storage) {
        case Storage::f32:
            return "float32";
        case Storage::f16:
            return "float16";
        case Storage::bf16:
            return "bfloat16";
        case Storage::q8_0:
            break;
    }
    throw ConfigError("export: transformers reads no q8_0; write --dtype f32, bf16 or f16");
}

/// Tensors in the order of the model, cut into files.
std::vector<std::vector<const ForeignTensor*>> plan_shards(const ForeignModel& model,
                                                           const HfExport& options) {
    std::vector<std::vector<const ForeignTensor*>> shards;
    index_t bytes = 0;
    for (const ForeignTensor& tensor : model.tensors) {
        const index_t size =
            storage_bytes(tensor.keep_f32 ? Storage::f32 : options.storage, tensor.shape.num_elements());
        if (shards.empty() || (bytes > 0 && bytes + size > options.shard_bytes)) {
            shards.emplace_back();
            bytes = 0;
        }
        shards.back().push_back(&tensor);
        bytes += size;
    }
    return shards;
}

/// @param what  "model" or "moments"
std::string shard_file(const std::string& what, index_t shard_idx, index_t num_shards) {
    if (num_shards == 1) return what + ".safetensors";
    return what + detail::numbered("-", shard_idx + 1, 5, "") +
           detail::numbered("-of-", num_shards, 5, ".safetensors");
}

/// What the folder says about itself.
struct Record {
    Json::Array tensors;
    Json::Array files;
    Json::Object weight_map;
    index_t total_bytes = 0;
    index_t num_parameters = 0;
};

void write_shard(const fs::path& folder, const std::string& name,
                 const std::vector<const ForeignTensor*>& tensors, const CheckpointReader& reader,
                 Storage storage, Record& record) {
    std::map<std::string, const ForeignTensor*> by_name;
    std::vector<SafetensorsEntry> entries;
    for (const ForeignTensor* const tensor : tensors) {
        by_name[tensor->name] = tensor;
        entries.push_back({tensor->name, tensor->keep_f32 ? Storage::f32 : storage, tensor->shape, Range{}});
    }
    SafetensorsWriter writer(folder / name, std::move(entries));
    std::vector<TensorToStore> to_store;
    for (const SafetensorsEntry& entry : writer.entries())
        to_store.push_back({by_name.at(entry.name), entry.storage});
    for_each_stored(reader, to_store, [&](std::size_t idx, const StoredTensor& stored) {
        const SafetensorsEntry& entry = writer.entries()[idx];
        writer.write(stored.bytes);
        record.tensors.push_back(Json::Object{{"name", entry.name},
                                              {"file", name},
                                              {"shape", json_array(entry.shape.dims())},
                                              {"dtype", std::string(storage_name(entry.storage))},
                                              {"sha256", stored.sha256}});
        record.weight_map.push_back({entry.name, name});
        record.total_bytes += entry.bytes.size();
        record.num_parameters += entry.shape.num_elements();
    });
    record.files.push_back(Json::Object{{"name", name}, {"bytes", writer.finish()}});
}

/// The moments of the optimizer, which no index names: transformers does not read them.
void write_moments(const fs::path& folder, const ForeignModel& model, const CheckpointReader& reader,
                   const HfExport& options, Record& record) {
    const ForeignModel moments = moments_of(model);
    const auto shards = plan_shards(moments, options);
    for (index_t i = 0; i < std::ssize(shards); ++i)
        write_shard(folder, shard_file("moments", i, std::ssize(shards)), shards[static_cast<std::size_t>(i)],
                    reader, Storage::f32, record);
}

std::string generation_config(const GenerateConfig& generate) {
    if (generate.temperature <= 0.0) return Json(Json::Object{{"do_sample", false}}).text();
    return Json(Json::Object{{"do_sample", true},
                             {"temperature", generate.temperature},
                             {"top_k", generate.top_k},
                             {"top_p", generate.top_p}})
        .text();
}

void write_tokenizer(const fs::path& folder, const HfFamily& family, const Config& config,
                     std::vector<std::string>& notes) {
    if (config.data.tokenizer == kBytes && config.model.vocab_size >= kBytesVocabulary) {
        detail::write_text(folder / "tokenizer.json", byte_tokenizer_json());
        detail::write_text(folder / "tokenizer_config.json",
                           byte_tokenizer_config_json(config.model.seq_len));
        return;
    }
    if (config.data.tokenizer == kBytes) {
        notes.push_back(concat("no tokenizer is written: model.vocab_size = ", config.model.vocab_size,
                               " has no room for bytes"));
    } else if (copy_tokenizer_files(config.data.tokenizer, folder, family.sentencepiece_file).empty()) {
        notes.push_back(concat("no tokenizer is written: there is none at data.tokenizer = ",
                               config.data.tokenizer, "; copy its files into the folder"));
    }
}

/// The description of the exported model. @throws ConfigError when the checkpoint holds more or other tensors
ForeignModel describe(const HfFamily& family, const Config& config, const Manifest& manifest) {
    ForeignModel model = family.tensors(config, manifest.shapes, ExpertLayout::separate);
    std::vector<std::string> problems =
        layout_problems(model, manifest.shapes, router_state_sizes(manifest.state));
    for (std::string& problem : problems) problem = concat("export as ", family.name, ": ", problem);
    if (!problems.empty()) throw ConfigError(problems);
    return model;
}

const HfFamily& family_for(const HfExport& options, const Config& config) {
    if (options.family.empty()) return choose_hf_family(config);
    const HfFamily& family = find_hf_family(options.family);
    std::vector<std::string> problems = hf_problems(family, config);
    for (std::string& problem : problems)
        problem = concat("export: ", family.architecture, " cannot express this model: ", problem);
    if (!problems.empty()) throw ConfigError(problems);
    return family;
}

}  // namespace

HfExported export_hf(const fs::path& checkpoint, const fs::path& folder, const HfExport& options) {
    const std::string dtype = torch_name(options.storage);
    const CheckpointReader reader(checkpoint);
    const Manifest& manifest = reader.manifest();
    const Config config = parse_config(manifest.config, "the checkpoint's settings");
    const HfFamily& family = family_for(options, config);
    const ForeignModel model = describe(family, config, manifest);
    check_trained_tokenizer(config, manifest);
    const auto shards = plan_shards(model, options);
    HfExported result{.architecture = std::string(family.architecture),
                      .num_tensors = std::ssize(model.tensors),
                      .num_files = std::ssize(shards),
                      .notes = hf_notes(config)};
    if (family.published_by != nullptr) {
        result.notes.push_back(concat("transformers has no class of its own for ", family.name,
                                      ": put that of ", family.published_by, " beside the files"));
    }
    detail::write_new_folder(folder, [&](const fs::path& unfinished) {
        Record record;
        for (index_t i = 0; i < std::ssize(shards); ++i) {
            write_shard(unfinished, shard_file("model", i, std::ssize(shards)),
                        shards[static_cast<std::size_t>(i)], reader, options.storage, record);
        }
        result.num_parameters = record.num_parameters;
        if (shards.size() > 1) {
            const Json index =
                Json::Object{{"metadata", Json::Object{{"total_size", record.total_bytes},
                                                       {"total_parameters", record.num_parameters}}},
                             {"weight_map", std::move(record.weight_map)}};
            detail::write_text(unfinished / "model.safetensors.index.json", index.text());
        }
        if (options.with_moments) write_moments(unfinished, model, reader, options, record);
        detail::write_text(unfinished / "config.json", hf_config_json(family, config, dtype).text());
        write_tokenizer(unfinished, family, config, result.notes);
        // One that came with the model's tokenizer stays as it is.
        if (!fs::exists(unfinished / "generation_config.json"))
            detail::write_text(unfinished / "generation_config.json", generation_config(config.generate));
        const Json record_json = Json::Object{{"checkpoint", fs::absolute(checkpoint).string()},
                                              {"step", manifest.step},
                                              {"settings", manifest.config},
                                              {"files", std::move(record.files)},
                                              {"tensors", std::move(record.tensors)}};
        detail::write_text(unfinished / "manifest.json", record_json.text());
    });
    return result;
}

index_t parse_shard_size(const std::string& text) {
    index_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string unit(end, text.data() + text.size());
    constexpr std::array kUnits{std::pair("", index_t{1}), std::pair("KB", index_t{1'000}),
                                std::pair("MB", index_t{1'000'000}), std::pair("GB", index_t{1'000'000'000})};
    for (const auto& [name, factor] : kUnits) {
        if (error == std::errc() && unit == name && number > 0 &&
            number <= std::numeric_limits<index_t>::max() / factor)
            return number * factor;
    }
    throw ConfigError(
        concat("--shard-size ", text, ": write a number of bytes from 1 on, or one with KB, MB or GB"));
}

}  // namespace sy::runtime
