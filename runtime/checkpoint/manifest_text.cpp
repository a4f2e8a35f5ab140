// The manifest as JSON: {"checkpoint": {...}, "xxh3": checksum of the text of the first}.
#include <xxhash.h>

#include <boost/json.hpp>

#include <bit>
#include <fstream>
#include <iterator>

#include "runtime/checkpoint/manifest.hpp"

namespace sy::runtime {
namespace {

namespace json = boost::json;

constexpr int kFormat = 2;

std::uint64_t from_hex(const json::value& text) {
    return std::stoull(std::string(text.as_string()), nullptr, 16);
}

std::string string_of(const json::value& text) {
    return std::string(text.as_string());
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

std::string checksum_of(const json::object& body) {
    const std::string text = json::serialize(body);
    return hex(XXH3_64bits(text.data(), text.size()));
}

json::object state_to_json(const TrainingState& state) {
    json::object router;
    for (const auto& [name, values] : state.router) {
        json::array& bits = router[name].emplace_array();
        // As bits: decimal digits need not read back to the same number.
        for (const double value : values)
            bits.push_back(json::string(hex(std::bit_cast<std::uint64_t>(value))));
    }
    return {{"seed", state.seed},
            {"random", state.random},
            {"samples_consumed", state.samples_consumed},
            {"skipped_steps", state.skipped_steps},
            {"skipped_in_a_row", state.skipped_in_a_row},
            {"router", std::move(router)}};
}

TrainingState state_from_json(const json::object& body) {
    TrainingState state;
    state.seed = body.at("seed").to_number<std::uint64_t>();
    state.random = string_of(body.at("random"));
    state.samples_consumed = body.at("samples_consumed").as_int64();
    state.skipped_steps = body.at("skipped_steps").as_int64();
    state.skipped_in_a_row = body.at("skipped_in_a_row").as_int64();
    for (const auto& [name, values] : body.at("router").as_object()) {
        std::vector<double>& array = state.router[std::string(name)];
        for (const json::value& value : values.as_array())
            array.push_back(std::bit_cast<double>(from_hex(value)));
    }
    return state;
}

json::array piece_to_json(const PieceRecord& piece) {
    return {kind_name(piece.id.kind), piece.id.tensor, piece.id.matrix, piece.rows.begin,
            piece.rows.end,           piece.cols,      piece.file,      piece.dataset,
            hex(piece.checksum)};
}

PieceRecord piece_from_json(const json::array& piece) {
    return {{kind_of(string_of(piece.at(0))), string_of(piece.at(1)), piece.at(2).as_int64()},
            {piece.at(3).as_int64(), piece.at(4).as_int64()},
            piece.at(5).as_int64(),
            string_of(piece.at(6)),
            string_of(piece.at(7)),
            from_hex(piece.at(8))};
}

Manifest from_json(const json::object& body) {
    Manifest manifest;
    manifest.step = body.at("step").as_int64();
    manifest.config = string_of(body.at("config"));
    manifest.written_on = string_of(body.at("written_on"));
    if (const json::value* const name = body.if_contains("isa")) manifest.isa = string_of(*name);
    manifest.layout = layout_of(string_of(body.at("layout")));
    manifest.state = state_from_json(body.at("state").as_object());
    for (const auto& [name, dims] : body.at("tensors").as_object()) {
        std::vector<index_t> sides;
        for (const json::value& side : dims.as_array()) sides.push_back(side.as_int64());
        manifest.shapes[name] = Shape(std::span<const index_t>(sides));
    }
    for (const json::value& item : body.at("files").as_array()) {
        const json::object& file = item.as_object();
        manifest.files.push_back(
            {string_of(file.at("name")), file.at("bytes").as_int64(), from_hex(file.at("xxh3"))});
    }
    for (const json::value& item : body.at("pieces").as_array())
        manifest.pieces.push_back(piece_from_json(item.as_array()));
    return manifest;
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
    json::object body{{"format", kFormat},
                      {"step", manifest.step},
                      {"config", manifest.config},
                      {"written_on", manifest.written_on},
                      {"isa", manifest.isa},
                      {"layout", layout_name(manifest.layout)},
                      {"state", state_to_json(manifest.state)}};
    json::object& tensors = body["tensors"].emplace_object();
    for (const auto& [name, shape] : manifest.shapes)
        tensors[name] = json::array(shape.dims().begin(), shape.dims().end());
    json::object& checksums = body["matrix_checksums"].emplace_object();
    for (const auto& [id, sum] : manifest.matrix_checksums()) checksums[id.to_string()] = hex(sum);
    json::array& files = body["files"].emplace_array();
    for (const FileRecord& file : manifest.files) {
        files.push_back(
            json::object{{"name", file.name}, {"bytes", file.bytes}, {"xxh3", hex(file.checksum)}});
    }
    json::array& pieces = body["pieces"].emplace_array();
    for (const PieceRecord& piece : manifest.pieces) pieces.push_back(piece_to_json(piece));
    const std::string checksum = checksum_of(body);
    return json::serialize(json::object{{"checkpoint", std::move(body)}, {"xxh3", checksum}}) + "\n";
}

Manifest parse_manifest(const std::string& text, const std::string& name) {
    try {
        const json::value whole = json::parse(text);
        const json::object& body = whole.as_object().at("checkpoint").as_object();
        const std::string expected = string_of(whole.as_object().at("xxh3"));
        const std::string found = checksum_of(body);
        if (found != expected)
            throw IoError(concat("its checksum is ", found, ", ", expected, " was written"));
        if (body.at("format").as_int64() != kFormat) {
            throw IoError(
                concat("its format is ", body.at("format").as_int64(), "; this program reads ", kFormat));
        }
        return from_json(body);
    } catch (const std::exception& error) {
        throw IoError(concat(name, " is damaged: ", error.what()));
    }
}

Manifest read_manifest(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "manifest.json";
    std::ifstream file(path);
    if (!file)
        throw IoError(concat("checkpoint ", folder.string(),
                             " has no manifest.json that can be read: it is no whole checkpoint"));
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    return parse_manifest(text, path.string());
}

}  // namespace sy::runtime
