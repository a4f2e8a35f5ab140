#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cuda_on_cpu/ptx/module.hpp"
#include "tests/cuda_on_cpu/ptx/tokens.hpp"

namespace sy::emulation::ptx {

/// Where reading is in the tokens of a module.
class Reader {
  public:
    Reader(const std::vector<Token>& tokens, std::string module)
        : tokens_(tokens), module_(std::move(module)) {}

    const Token& peek(std::size_t ahead = 0) const;
    const Token& next();
    bool take(std::string_view text);
    void expect(std::string_view text);
    /// @throws PtxError unless a word comes
    std::string_view word();
    /// A number, perhaps below zero, or the bits of a float.
    std::uint64_t number();
    /// Past all that stands in the same line.
    void skip_line();
    /// Past the braces that open here.
    void skip_braces();

    void set_function(std::string name) { function_ = std::move(name); }
    /// @throws PtxError with the module, the function and the line
    [[noreturn]] void fail(const std::string& problem) const;

  private:
    const std::vector<Token>& tokens_;
    std::string module_;
    std::string function_;
    std::size_t at_ = 0;
};

/// Whether a word is a number. Floats are 0f and 0d with the digits of their bits.
bool is_number(std::string_view word);

/// What a name in an instruction stands for.
struct Symbol {
    Operand operand;
    bool is_dynamic_shared = false;
};
using Symbols = std::map<std::string, Symbol, std::less<>>;

/// `.align 8 .b8 name[72]` and the like, without what comes before.
struct Declaration {
    std::string name;
    Type type;
    std::size_t bytes = 0;
    std::size_t alignment = 1;
    bool is_pointer = false;
};
Declaration read_declaration(Reader& reader);

/// Where a piece of memory goes that comes after `used` bytes, which become more.
std::size_t place(const Declaration& declaration, std::size_t& used);

/// `(.param .b64 name, ...)`: adds them to the pieces, and to the function's parameters.
void read_parameters(Reader& reader, Function& function, std::vector<Piece>& pieces);

/// A function's body, from its first brace to the last.
/// @param files  by their numbers in .loc
void read_body(Reader& reader, Function& function, const Symbols& module_symbols,
               const std::map<std::uint64_t, const char*>& files);

}  // namespace sy::emulation::ptx
