#include <xxhash.h>

#include <boost/json.hpp>

#include <fstream>

#include "runtime/checkpoint/checkpoint.hpp"

namespace sy::runtime {
namespace {

namespace json = boost::json;

constexpr int kFormat = 1;

std::string hex(std::uint64_t value) {
    std::string text(16, '0');
    for (std::size_t i = 16; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15U];
    return text;
}

std::uint64_t from_hex(const json::value& text) {
    return std::stoull(std::string(text.as_string()), nullptr, 16);
}

Kind kind_of(const std::string& name) {
    for (const Kind kind : {Kind::weight, Kind::m, Kind::v}) {
        if (kind_name(kind) == name) return kind;
    }
    throw IoError(concat("unknown kind of piece ", name));
}

std::string checksum_of(const json::object& body) {
    const std::string text = json::serialize(body);
    return hex(XXH3_64bits(text.data(), text.size()));
}

Manifest from_json(const json::object& body) {
    Manifest manifest;
    manifest.step = body.at("step").as_int64();
    manifest.config = body.at("config").as_string();
    manifest.layout = body.at("layout").as_string();
    for (const auto& [name, dims] : body.at("tensors").as_object()) {
        std::vector<index_t> sides;
        for (const json::value& side : dims.as_array()) sides.push_back(side.as_int64());
        manifest.shapes[name] = Shape(std::span<const index_t>(sides));
    }
    for (const json::value& item : body.at("files").as_array()) {
        const json::object& file = item.as_object();
        manifest.files.push_back({std::string(file.at("name").as_string()), file.at("bytes").as_int64(),
                                  from_hex(file.at("xxh3"))});
    }
    for (const json::value& item : body.at("pieces").as_array()) {
        const json::array& piece = item.as_array();
        manifest.pieces.push_back({kind_of(std::string(piece.at(0).as_string())),
                                   std::string(piece.at(1).as_string()),
                                   piece.at(2).as_int64(),
                                   {piece.at(3).as_int64(), piece.at(4).as_int64()},
                                   piece.at(5).as_int64(),
                                   std::string(piece.at(6).as_string()),
                                   std::string(piece.at(7).as_string()),
                                   from_hex(piece.at(8))});
    }
    return manifest;
}

}  // namespace

std::string kind_name(Kind kind) {
    return kind == Kind::weight ? "weight" : kind == Kind::m ? "m" : "v";
}

std::uint64_t row_checksum(std::span<const float> values, index_t cols, index_t first_row) {
    std::uint64_t sum = 0;
    const auto width = static_cast<std::size_t>(cols);
    for (std::size_t row = 0; row * width < values.size(); ++row) {
        sum += XXH3_64bits_withSeed(values.data() + row * width, width * sizeof(float),
                                    static_cast<std::uint64_t>(first_row) + row);
    }
    return sum;
}

std::map<std::string, std::uint64_t> Manifest::matrix_checksums() const {
    std::map<std::string, std::uint64_t> sums;
    for (const PieceRecord& piece : pieces) {
        sums[concat(kind_name(piece.kind), " ", piece.tensor, "[", piece.matrix, "]")] += piece.checksum;
    }
    return sums;
}

std::string write_manifest(const Manifest& manifest) {
    json::object body;
    body["format"] = kFormat;
    body["step"] = manifest.step;
    body["config"] = manifest.config;
    body["layout"] = manifest.layout;
    json::object& tensors = body["tensors"].emplace_object();
    for (const auto& [name, shape] : manifest.shapes)
        tensors[name] = json::array(shape.dims().begin(), shape.dims().end());
    json::object& checksums = body["matrix_checksums"].emplace_object();
    for (const auto& [name, sum] : manifest.matrix_checksums()) checksums[name] = hex(sum);
    json::array& files = body["files"].emplace_array();
    for (const FileRecord& file : manifest.files) {
        files.push_back(
            json::object{{"name", file.name}, {"bytes", file.bytes}, {"xxh3", hex(file.checksum)}});
    }
    json::array& pieces = body["pieces"].emplace_array();
    for (const PieceRecord& piece : manifest.pieces) {
        pieces.push_back(json::array{kind_name(piece.kind), piece.tensor, piece.matrix, piece.rows.begin,
                                     piece.rows.end, piece.cols, piece.file, piece.dataset,
                                     hex(piece.checksum)});
    }
    const std::string checksum = checksum_of(body);
    return json::serialize(json::object{{"checkpoint", std::move(body)}, {"xxh3", checksum}}) + "\n";
}

Manifest read_manifest(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "manifest.json";
    std::ifstream file(path);
    if (!file)
        throw IoError(concat("checkpoint ", folder.string(),
                             " has no manifest.json that can be read: it is no whole checkpoint"));
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    try {
        const json::value whole = json::parse(text);
        const json::object& body = whole.as_object().at("checkpoint").as_object();
        const std::string expected(whole.as_object().at("xxh3").as_string());
        const std::string found = checksum_of(body);
        if (found != expected)
            throw IoError(concat("its checksum is ", found, ", ", expected, " was written"));
        if (body.at("format").as_int64() != kFormat) {
            throw IoError(
                concat("its format is ", body.at("format").as_int64(), "; this program reads ", kFormat));
        }
        return from_json(body);
    } catch (const std::exception& error) {
        throw IoError(concat(path.string(), " is damaged: ", error.what()));
    }
}

}  // namespace sy::runtime
