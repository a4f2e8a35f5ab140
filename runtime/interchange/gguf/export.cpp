#include <deque>
#include <iterator>
#include <limits>

#include "runtime/checkpoint/files.hpp"
#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/gguf/convert.hpp"
#include "runtime/interchange/gguf/split.hpp"
#include "runtime/interchange/gguf/tokenizer.hpp"
#include "runtime/interchange/stored_tensors.hpp"
#include "runtime/interchange/tokenizer_files.hpp"
#include "runtime/interchange/unfinished_file.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

namespace fs = std::filesystem;

/// llama.cpp's number of a file type.
std::uint32_t file_type(Storage storage) {
    switch (storage) {
        case Storage::f32:
            return 0;
        case Storage::f16:
            return 1;
        case Storage::q8_0:
            return 7;
        case Storage::bf16:
            return 32;
    }
    return 0;
}

Json::Array shape_of(const Shape& shape) {
    return json_array(shape.dims());
}

Json source_of(const ForeignPart& part) {
    if (!part.has_values()) return concat("constant ", part.addend);
    return part.tensor;
}

/// One of the files of an export: its name, and which tensors of the model are in it.
struct OutputFile {
    OutputFile(const fs::path& path, gguf::Header what, std::vector<std::size_t> which)
        : unfinished("export", path),
          name(path.filename().string()),
          header(std::move(what)),
          tensors(std::move(which)) {}

    UnfinishedFile unfinished;
    std::string name;
    gguf::Header header;
    std::vector<std::size_t> tensors;
};

/// Writes the tensors of a file. @param tensors  gets what the manifest says of each
void write_tensors(const CheckpointReader& reader, const ForeignModel& model, const OutputFile& file,
                   Json::Array& tensors) {
    GgufWriter writer(file.unfinished.path(), file.header);
    std::vector<TensorToStore> to_store;
    for (std::size_t i = 0; i < file.tensors.size(); ++i)
        to_store.push_back({&model.tensors[file.tensors[i]], file.header.tensors[i].storage});
    for_each_stored(reader, to_store, [&](std::size_t idx, const StoredTensor& stored) {
        const auto& [tensor, storage] = to_store[idx];
        writer.append(tensor->name, stored.bytes);
        Json::Array sources;
        for (const ForeignPart& part : tensor->parts) {
            Json source = source_of(part);
            if (sources.empty() || !(sources.back() == source)) sources.push_back(std::move(source));
        }
        tensors.push_back(Json::Object{{"name", tensor->name},
                                       {"shape", shape_of(tensor->shape)},
                                       {"dtype", storage_name(storage)},
                                       {"sha256", stored.sha256},
                                       {"file", file.name},
                                       {"from", std::move(sources)}});
    });
    writer.finish();
}

/// Gives all files their names, the first one, by which the others are found, last; none when one cannot get its.
void publish(const std::deque<OutputFile>& files) {
    std::size_t left = files.size();
    try {
        for (; left > 0; --left) files[left - 1].unfinished.publish();
    } catch (...) {
        for (; left < files.size(); ++left) files[left].unfinished.withdraw();
        throw;
    }
}

/// The files of a whole header. @throws IoError when one of them exists
std::deque<OutputFile> output_files(const fs::path& file, const gguf::Header& whole, index_t shard_bytes) {
    std::deque<OutputFile> files;
    auto plan =
        gguf::plan_files(whole.tensors, shard_bytes > 0 ? shard_bytes : std::numeric_limits<index_t>::max());
    if (plan.size() == 1) {
        files.emplace_back(file, whole, std::move(plan[0]));
        return files;
    }
    if (file.extension() != ".gguf")
        throw ConfigError(
            concat("checkpoint export: ", file.string(), " becomes ", plan.size(),
                   " files, which are numbered before .gguf; give a name that ends with .gguf"));
    std::vector<gguf::Header> headers = gguf::split_headers(whole, plan);
    for (std::size_t i = 0; i < plan.size(); ++i)
        files.emplace_back(gguf::split_name(file, static_cast<index_t>(i), std::ssize(plan)),
                           std::move(headers[i]), std::move(plan[i]));
    return files;
}

void add_tokenizer(const Config& config, const Manifest& manifest, gguf::Header& header,
                   std::vector<std::string>& notes) {
    gguf::TokenizerKeys tokenizer;
    if (config.data.tokenizer == "bytes") {
        tokenizer.keys = gguf::byte_tokenizer(config.model.vocab_size);
    } else {
        check_trained_tokenizer(config, manifest);
        tokenizer = gguf::tokenizer_keys(config.data.tokenizer, config.model.vocab_size);
    }
    std::ranges::move(tokenizer.keys, std::back_inserter(header.keys));
    std::ranges::move(tokenizer.notes, std::back_inserter(notes));
}

}  // namespace

namespace gguf {

std::vector<Tensor> stored_tensors(const ForeignModel& model, Storage storage) {
    std::vector<Tensor> tensors;
    std::vector<std::string> problems;
    for (const ForeignTensor& tensor : model.tensors) {
        const bool keep = tensor.keep_f32 || tensor.shape.num_dims() == 1;
        const Storage own = keep ? Storage::f32 : storage;
        if (tensor.shape.dims().back() % storage_block(own) != 0)
            problems.push_back(concat("--dtype ", storage_name(storage), ": ", tensor.name, " ",
                                      tensor.shape.to_string(), " has rows that are no multiple of ",
                                      storage_block(own), "; write bf16 or f16"));
        tensors.push_back({tensor.name, tensor.shape, own, 0});
    }
    if (!problems.empty()) throw ConfigError(problems);
    place_tensors(tensors, Header{}.alignment);
    return tensors;
}

}  // namespace gguf

GgufWritten export_gguf(const fs::path& checkpoint, const fs::path& file, const GgufExport& options) {
    const CheckpointReader reader(checkpoint);
    const Manifest& manifest = reader.manifest();
    const Config config = parse_config(manifest.config, "the checkpoint's settings");
    const std::string architecture = gguf::choose_architecture(config, options.architecture);
    const gguf::GgufModel described =
        gguf::describe(config, architecture, manifest.shapes, router_state_sizes(manifest.state));
    std::vector<std::string> notes = gguf::export_notes(config);
    gguf::Header header;
    header.keys = described.keys;
    add_tokenizer(config, manifest, header, notes);
    header.keys.push_back({"general.file_type", file_type(options.storage)});
    header.tensors = gguf::stored_tensors(described.model, options.storage);
    const fs::path manifest_path = file.string() + ".manifest.json";
    std::deque<OutputFile> files = output_files(file, header, options.shard_bytes);
    const UnfinishedFile unfinished_manifest("export", manifest_path);
    Json::Array tensors;
    Json::Array file_sizes;
    for (const OutputFile& output : files) {
        write_tensors(reader, described.model, output, tensors);
        file_sizes.push_back(Json::Object{{"name", output.name},
                                          {"bytes", detail::regular_file_bytes(output.unfinished.path())}});
    }
    const Json text =
        Json::Object{{"format", "gguf"},
                     {"architecture", architecture},
                     {"checkpoint", fs::absolute(checkpoint).lexically_normal().filename().string()},
                     {"step", manifest.step},
                     {"files", std::move(file_sizes)},
                     {"tensors", std::move(tensors)}};
    detail::write_text(unfinished_manifest.path(), text.text() + "\n");
    unfinished_manifest.publish();
    try {
        publish(files);
    } catch (...) {
        unfinished_manifest.withdraw();
        throw;
    }
    return {architecture, std::move(notes), std::ssize(files)};
}

}  // namespace sy::runtime
