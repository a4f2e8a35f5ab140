#pragma once

#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "tests/cuda_on_cpu/emulation/device/bits.hpp"
#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"
#include "tests/cuda_on_cpu/ptx/module.hpp"

namespace sy::emulation::ptx {

/// A kernel that runs, with what its threads have in common. Allocations neither come nor go meanwhile.
struct Grid {
    const Module& module;
    const Function& kernel;
    std::vector<unsigned char> arguments;  ///< as the kernel's parameters lie
    std::size_t dynamic_shared_bytes = 0;
    struct Range {
        const char* first = nullptr;
        const char* end = nullptr;
        bool is_read_only = false;
    };
    std::array<Range, 4> recent;  ///< memory that was found for accesses before
    std::size_t next_recent = 0;
};

/// A thread of the grid: the memory of its block, and the calls that it is in.
struct Thread {
    Grid& grid;
    char* shared = nullptr;
    char* dynamic_shared = nullptr;
    const Frame* innermost = nullptr;
    bool has_exited = false;
};

enum class Access : std::uint8_t { read, write };

/// A function that a thread is in: registers, parameters and local memory.
class Frame {
  public:
    Frame(Thread& thread, const Function& function);
    Frame(const Frame&) = delete;
    Frame& operator=(const Frame&) = delete;
    ~Frame() { thread_.innermost = caller_; }

    /// To the function's end.
    void run();
    unsigned char* parameters() { return parameters_.data(); }
    const Function& function() const { return function_; }

    std::uint64_t bits(const Operand& operand) const {
        if (operand.kind == Operand::Kind::reg) return registers_[operand.index];
        if (operand.kind == Operand::Kind::number) return operand.value;
        return other_bits(operand);
    }
    template <typename T>
    T get(const Operand& operand) const {
        return from_bits<T>(bits(operand));
    }
    bool is_true(const Operand& operand) const { return (bits(operand) & 1) != 0; }
    template <typename T>
    void set(const Operand& operand, T value) {
        if (operand.kind == Operand::Kind::reg) registers_[operand.index] = to_bits(value);
    }

    /// Where an access goes, checked: live memory of the space, and aligned.
    char* address(const Instruction& instruction, const Operand& base, std::size_t bytes,
                  Access access) const;
    /// An address in the window of shared memory as a generic one, and back.
    std::uint64_t shared_to_generic(const Instruction& instruction, std::uint64_t at) const;
    std::uint64_t generic_to_shared(const Instruction& instruction, std::uint64_t at) const;

    void jump(std::uint32_t target) { next_ = target; }
    void leave() { next_ = function_.code.size(); }
    void exit_thread() {
        thread_.has_exited = true;
        leave();
    }
    void call(const Instruction& instruction);

    bool carry = false;  ///< of add.cc and its like

  private:
    std::uint64_t other_bits(const Operand& operand) const;
    char* shared_address(const Instruction& instruction, std::uint64_t at, std::size_t bytes) const;
    char* generic_address(const Instruction& instruction, std::uint64_t at, std::size_t bytes,
                          Access access) const;

    Thread& thread_;
    const Function& function_;
    const Frame* caller_;
    std::vector<std::uint64_t> registers_;
    std::vector<unsigned char> parameters_;
    std::vector<unsigned char> local_;
    std::size_t next_ = 0;
};

/// What each thread of a grid runs.
void run_thread_of(Grid& grid);

/// Ends the grid with the instruction's place and text. @param problem  what is wrong
[[noreturn]] void fault_at(const Instruction& instruction, const std::string& problem);

}  // namespace sy::emulation::ptx
