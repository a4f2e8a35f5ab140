// The manifest as JSON: {"checkpoint": {...}, "xxh3": checksum of the text of the first}.
#include <xxhash.h>

#include <bit>

#include "runtime/checkpoint/manifest.hpp"
#include "runtime/checkpoint/regular_file.hpp"
#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

constexpr int kFormat = 2;
constexpr index_t kMaxManifestBytes = index_t{1} << 30;

std::uint64_t from_hex(const Json& text) {
    return std::stoull(text.as_string(), nullptr, 16);
}

Kind kind_of(const std::string& name) {
    for (const Kind kind : kKinds) {
        if (kind_name(kind) == name) return kind;
    }
    throw IoError(concat("unknown kind of piece ", name));
}

CheckpointLayout layout_of(const std::string& name) {
    for (const CheckpointLayout layout : {CheckpointLayout::sharded, CheckpointLayout::single}) {
        if (layout_name(layout) == name) return layout;
    }
    throw IoError(concat("unknown layout ", name));
}

std::string checksum_of(const Json& body) {
    return manifest_checksum(body.text());
}

Json data_to_json(const DataRecord& data) {
    Json::Object body{{"paths", data.paths},        {"file_bytes", json_array(data.file_bytes)},
                      {"xxh3", hex(data.checksum)}, {"tokenizer", data.tokenizer},
                      {"window", data.window},      {"validation_fraction", data.validation_fraction}};
    if (!data.weights.empty()) body.push_back({"weights", json_array(data.weights)});
    return body;
}

DataRecord data_from_json(const Json& body) {
    DataRecord data;
    data.paths = body.at("paths").as_string();
    for (const Json& bytes : body.at("file_bytes").as_array()) data.file_bytes.push_back(bytes.as_whole());
    data.checksum = from_hex(body.at("xxh3"));
    data.tokenizer = body.at("tokenizer").as_string();
    data.window = body.at("window").as_whole();
    data.validation_fraction = body.at("validation_fraction").as_number();
    if (const Json* const weights = body.find("weights"))
        for (const Json& weight : weights->as_array()) data.weights.push_back(weight.as_whole());
    return data;
}

Json state_to_json(const TrainingState& state) {
    Json::Object router;
    for (const auto& [name, values] : state.router) {
        // Numbers are written as bits: decimal digits need not read back to the same number.
        Json::Array bits;
        for (const double value : values) bits.push_back(hex(std::bit_cast<std::uint64_t>(value)));
        router.push_back({name, std::move(bits)});
    }
    Json::Object body{{"seed", state.seed},
                      {"random", state.random},
                      {"samples_consumed", state.samples_consumed},
                      {"skipped_steps", state.skipped_steps},
                      {"skipped_in_a_row", state.skipped_in_a_row},
                      {"router", std::move(router)}};
    if (state.data) body.push_back({"data", data_to_json(*state.data)});
    return body;
}

TrainingState state_from_json(const Json& body) {
    TrainingState state;
    state.seed = body.at("seed").as_natural();
    state.random = body.at("random").as_string();
    state.samples_consumed = body.at("samples_consumed").as_whole();
    state.skipped_steps = body.at("skipped_steps").as_whole();
    state.skipped_in_a_row = body.at("skipped_in_a_row").as_whole();
    for (const auto& [name, values] : body.at("router").as_object()) {
        std::vector<double>& array = state.router[name];
        for (const Json& value : values.as_array()) array.push_back(std::bit_cast<double>(from_hex(value)));
    }
    if (const Json* const data = body.find("data")) state.data = data_from_json(*data);
    return state;
}

Json piece_to_json(const PieceRecord& piece) {
    return Json::Array{kind_name(piece.id.kind), piece.id.tensor, piece.id.matrix, piece.rows.begin,
                       piece.rows.end,           piece.cols,      piece.file,      piece.dataset,
                       hex(piece.checksum)};
}

PieceRecord piece_from_json(const Json::Array& piece) {
    return {{kind_of(piece.at(0).as_string()), piece.at(1).as_string(), piece.at(2).as_whole()},
            {piece.at(3).as_whole(), piece.at(4).as_whole()},
            piece.at(5).as_whole(),
            piece.at(6).as_string(),
            piece.at(7).as_string(),
            from_hex(piece.at(8))};
}

void check_matrix_checksums(const Json& body, const Manifest& manifest) {
    std::map<std::string, std::uint64_t> written;
    for (const auto& [name, sum] : body.at("matrix_checksums").as_object()) written[name] = from_hex(sum);
    const std::map<MatrixId, std::uint64_t> sums = manifest.matrix_checksums();
    for (const auto& [id, sum] : sums) {
        const auto found = written.find(id.to_string());
        if (found == written.end() || found->second != sum)
            throw IoError(
                concat("matrix_checksums: that of ", id.to_string(), " is not the sum of its pieces'"));
    }
    if (written.size() != sums.size())
        throw IoError(
            concat("matrix_checksums: ", written.size(), " are listed for ", sums.size(), " matrices"));
}

Manifest from_json(const Json& body) {
    Manifest manifest;
    manifest.step = body.at("step").as_whole();
    manifest.config = body.at("config").as_string();
    manifest.written_on = body.at("written_on").as_string();
    if (const Json* const name = body.find("isa")) manifest.isa = name->as_string();
    manifest.layout = layout_of(body.at("layout").as_string());
    manifest.state = state_from_json(body.at("state"));
    for (const auto& [name, dims] : body.at("tensors").as_object()) {
        std::vector<index_t> sides;
        for (const Json& side : dims.as_array()) sides.push_back(side.as_whole());
        manifest.shapes[name] = Shape(std::span<const index_t>(sides));
    }
    for (const Json& item : body.at("files").as_array()) {
        const Json& file = item;
        manifest.files.push_back(
            {file.at("name").as_string(), file.at("bytes").as_whole(), from_hex(file.at("xxh3"))});
    }
    for (const Json& item : body.at("pieces").as_array())
        manifest.pieces.push_back(piece_from_json(item.as_array()));
    check_matrix_checksums(body, manifest);
    return manifest;
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
    Json::Object tensors;
    for (const auto& [name, shape] : manifest.shapes) tensors.push_back({name, json_array(shape.dims())});
    Json::Object checksums;
    for (const auto& [id, sum] : manifest.matrix_checksums()) checksums.push_back({id.to_string(), hex(sum)});
    Json::Array files;
    for (const FileRecord& file : manifest.files) {
        files.push_back(
            Json::Object{{"name", file.name}, {"bytes", file.bytes}, {"xxh3", hex(file.checksum)}});
    }
    Json::Array pieces;
    for (const PieceRecord& piece : manifest.pieces) pieces.push_back(piece_to_json(piece));
    const Json body = Json::Object{{"format", kFormat},
                                   {"step", manifest.step},
                                   {"config", manifest.config},
                                   {"written_on", manifest.written_on},
                                   {"isa", manifest.isa},
                                   {"layout", layout_name(manifest.layout)},
                                   {"state", state_to_json(manifest.state)},
                                   {"tensors", std::move(tensors)},
                                   {"matrix_checksums", std::move(checksums)},
                                   {"files", std::move(files)},
                                   {"pieces", std::move(pieces)}};
    const std::string checksum = checksum_of(body);
    return Json(Json::Object{{"checkpoint", body}, {"xxh3", checksum}}).text() + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& name) {
    try {
        const Json whole = Json::parse(text);
        const Json& body = whole.at("checkpoint");
        const std::string expected = whole.at("xxh3").as_string();
        const std::string found = checksum_of(body);
        if (found != expected)
            throw IoError(concat("its checksum is ", found, ", ", expected, " was written"));
        if (body.at("format").as_whole() != kFormat) {
            throw IoError(
                concat("its format is ", body.at("format").as_whole(), "; this program reads ", kFormat));
        }
        return from_json(body);
    } catch (const std::exception& error) {
        throw IoError(concat(name, " is damaged: ", error.what()));
    }
}

std::string read_manifest_text(const std::filesystem::path& folder) {
    try {
        return detail::read_regular_text(folder / "manifest.json", kMaxManifestBytes);
    } catch (const IoError& error) {
        throw IoError(
            concat("checkpoint ", folder.string(),
                   " has no manifest.json that can be read: it is no whole checkpoint: ", error.what()));
    }
}

Manifest read_manifest(const std::filesystem::path& folder) {
    const std::string name = (folder / "manifest.json").string();
    Manifest manifest = parse_manifest(read_manifest_text(folder), name);
    std::string all;
    for (const std::string& problem : manifest_problems(manifest)) all += "\n  " + problem;
    if (!all.empty()) throw IoError(concat(name, " is damaged, or made to mislead:", all));
    return manifest;
}

std::string manifest_checksum(const std::string& text) {
    return hex(XXH3_64bits(text.data(), text.size()));
}

}  // namespace sy::runtime
