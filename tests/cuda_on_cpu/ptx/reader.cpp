#include "tests/cuda_on_cpu/ptx/reader.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "tests/cuda_on_cpu/ptx/opcode.hpp"

namespace sy::emulation::ptx {
namespace {

std::string quoted(std::string_view text, const char* what_follows) {
    std::string all = "'";
    all += text;
    all += "'";
    all += what_follows;
    return all;
}

}  // namespace

const Token& Reader::peek(std::size_t ahead) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
}

const Token& Reader::next() {
    const Token& token = peek();
    if (token.kind == Token::Kind::end) fail("the text ends early");
    ++at_;
    return token;
}

bool Reader::take(std::string_view text) {
    if (!peek().is(text)) return false;
    ++at_;
    return true;
}

void Reader::expect(std::string_view text) {
    if (!take(text)) fail(quoted(peek().text, " where ") + quoted(text, " is expected"));
}

std::string_view Reader::word() {
    if (peek().kind != Token::Kind::word) fail(quoted(peek().text, " where a word is expected"));
    return next().text;
}

bool is_number(std::string_view word) {
    return !word.empty() && std::isdigit(static_cast<unsigned char>(word.front())) != 0;
}

std::uint64_t Reader::number() {
    const bool is_negative = take("-");
    const std::string_view text = word();
    const auto starts_with = [&](char letter) {
        return text.size() > 2 && text[0] == '0' &&
               std::tolower(static_cast<unsigned char>(text[1])) == letter;
    };
    const bool has_prefix = starts_with('x') || starts_with('f') || starts_with('d');
    const std::string_view digits = has_prefix ? text.substr(2) : text;
    std::uint64_t value = 0;
    const char* end = digits.data() + digits.size();
    const auto [last, error] = std::from_chars(digits.data(), end, value, has_prefix ? 16 : 10);
    const bool is_whole = last == end || (last + 1 == end && *last == 'U');
    if (!is_number(text) || error != std::errc() || !is_whole) fail(quoted(text, " is no number"));
    return is_negative ? std::uint64_t{0} - value : value;
}

void Reader::skip_line() {
    for (const int line = peek().line; peek().kind != Token::Kind::end && peek().line == line;) ++at_;
}

void Reader::skip_braces() {
    expect("{");
    for (int depth = 1; depth > 0;) {
        const Token& token = next();
        depth += token.is("{") ? 1 : token.is("}") ? -1 : 0;
    }
}

void Reader::fail(const std::string& problem) const {
    throw PtxError("PTX of " + module_ + ", line " + std::to_string(peek().line) +
                   (function_.empty() ? "" : ", function " + function_) + ": " + problem);
}

Declaration read_declaration(Reader& reader) {
    Declaration read;
    std::size_t num_lanes = 1;
    while (reader.peek().text.starts_with('.')) {
        const std::string_view word = reader.word().substr(1);
        if (word == "align") {
            read.alignment = std::max(read.alignment, std::size_t(reader.number()));
        } else if (word == "ptr") {
            read.is_pointer = true;
        } else if (word == "v2" || word == "v4") {
            num_lanes = word == "v2" ? 2 : 4;
        } else if (const Type type = type_named(word); type.bits > 0) {
            read.type = type;
        } else if (word != "global" && word != "shared" && word != "const" && word != "local") {
            reader.fail("a declaration with ." + std::string(word) + ", which is not interpreted");
        }
    }
    read.name = reader.word();
    std::size_t count = num_lanes;
    while (reader.take("[")) {
        if (reader.take("]")) {
            count = 0;  // of dynamic shared memory
        } else {
            count *= reader.number();
            reader.expect("]");
        }
    }
    const std::size_t element_bytes = std::size_t(read.type.bits) / 8;
    read.bytes = count * element_bytes;
    if (!read.is_pointer) read.alignment = std::max(read.alignment, element_bytes * num_lanes);
    return read;
}

std::size_t place(const Declaration& declaration, std::size_t& used) {
    const std::size_t alignment = std::max<std::size_t>(declaration.alignment, 1);
    const std::size_t offset = (used + alignment - 1) / alignment * alignment;
    used = offset + declaration.bytes;
    return offset;
}

void read_parameters(Reader& reader, Function& function, std::vector<Piece>& pieces) {
    reader.expect("(");
    while (!reader.take(")")) {
        reader.take(",");
        reader.expect(".param");
        Declaration parameter = read_declaration(reader);
        parameter.alignment = std::max<std::size_t>(parameter.alignment, 8);
        const std::size_t offset = place(parameter, function.parameter_bytes);
        pieces.push_back({parameter.name, offset, parameter.bytes, parameter.is_pointer});
    }
}

}  // namespace sy::emulation::ptx
