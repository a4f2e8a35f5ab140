#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cuda_on_cpu/emulation/engine/place.hpp"

/// PTX as it is read: the functions of a module, whose instructions know the code that runs them. The words are those of
/// NVIDIA's "Parallel Thread Execution ISA".
namespace sy::emulation::ptx {

/// Text that is no PTX, or has an instruction that is not interpreted.
class PtxError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct Type {
    /// f16 and bf16 are numbers of 16 bits; predicates have one bit.
    enum class Kind : std::uint8_t { bits, unsigned_integer, signed_integer, real, bf16, predicate };
    Kind kind = Kind::bits;
    int bits = 0;
    int lanes = 1;  ///< 2: of f16x2 and bf16x2

    bool operator==(const Type&) const = default;
    bool is_integer() const { return kind <= Kind::signed_integer; }
};

enum class Space : std::uint8_t { generic, global, shared, local, parameter };

struct Operand {
    enum class Kind : std::uint8_t {
        number,      ///< `value`, also the address of a variable of the module, or an offset in shared memory
        reg,         ///< register `index`
        negated,     ///< the other of a predicate, register `index`
        sink,        ///< a result that is not wanted
        special,     ///< special register `index`
        local,       ///< the address of byte `value` of the function's local memory
        parameters,  ///< the address of byte `value` of its parameters
    };
    Kind kind = Kind::number;
    std::uint32_t index = 0;
    std::uint64_t value = 0;
};

enum class Rounding : std::uint8_t { nearest, zero, down, up };
enum class Comparison : std::uint8_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };
enum class Combination : std::uint8_t { none, conjunction, disjunction, exclusive };

struct Function;
/// What a call copies: from offsets in the caller's parameters to those that the callee declares, and back.
struct Call {
    std::string name;
    const Function* callee = nullptr;  ///< null: declared only
    std::vector<std::size_t> arguments;
    std::vector<std::size_t> results;
};

class Frame;
struct Instruction;
using Run = void (*)(Frame& frame, const Instruction& instruction);

struct Instruction {
    static constexpr std::size_t kMostOperands = 10;

    Run run = nullptr;
    int guard = -1;  ///< register of the predicate without which nothing is done; -1: none
    bool guard_is_negated = false;
    bool flushes = false;    ///< subnormal numbers to zero (.ftz)
    bool saturates = false;  ///< results into [0, 1], or into the range of integers
    Rounding rounding = Rounding::nearest;
    Comparison comparison = Comparison::eq;
    Combination combination = Combination::none;
    Space space = Space::generic;
    std::uint8_t num_lanes = 1;  ///< of a load, a store or a packed move: operands in braces
    bool first_has_lanes = false;
    std::uint8_t num_operands = 0;
    bool has_two_results = false;  ///< `d|p`
    std::int64_t offset = 0;       ///< of the address
    std::array<Operand, kMostOperands> operands;
    std::vector<std::uint32_t> targets;  ///< of branches: places in the function's code
    std::unique_ptr<Call> call;
    std::string text;
    Place where;

    const Operand& operator[](std::size_t i) const { return operands[i]; }
};

/// A parameter or a shared variable: where it is among the others of its kind.
struct Piece {
    std::string name;
    std::size_t offset = 0;
    std::size_t bytes = 0;
    bool is_pointer = false;  ///< of a kernel: .ptr
};

/// Where the launch's dynamic shared memory begins in the window of shared memory, behind all that functions declare.
inline constexpr std::uint64_t kDynamicShared = 1U << 20;

struct Function {
    std::string name;
    bool is_kernel = false;
    bool is_defined = false;
    unsigned most_threads = 0;  ///< .maxntid; 0: not said
    std::vector<Piece> parameters;
    std::vector<Piece> results;
    std::size_t parameter_bytes = 0;  ///< with the results, and what calls are given
    std::size_t local_bytes = 0;
    std::vector<Piece> shared;
    std::size_t shared_bytes = 0;
    bool uses_dynamic_shared = false;
    std::uint32_t num_registers = 0;
    std::vector<Instruction> code;
};

/// A variable of a module: global or constant.
struct Variable {
    std::vector<char> memory;
    bool is_constant = false;
};

struct Module {
    std::map<std::string, Function, std::less<>> functions;
    std::map<std::string, Variable, std::less<>> variables;
    std::deque<std::string> files;  ///< that instructions come from
};

/// @param name  of the module in messages
/// @throws PtxError naming the line, the function and the instruction's text
std::shared_ptr<const Module> parse(std::string_view text, const std::string& name);

}  // namespace sy::emulation::ptx
