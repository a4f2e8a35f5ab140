#include "tests/cuda_on_cpu/ptx/frame.hpp"

#include <array>
#include <cstdio>

#include "tests/cuda_on_cpu/ptx/special_registers.hpp"

namespace sy::emulation::ptx {
namespace {

/// What was not written before: NaN in every float type.
constexpr unsigned char kUnwritten = 0xff;

}  // namespace

void fault_at(const Instruction& instruction, const std::string& problem) {
    fault(instruction.where, "%s: %s", problem.c_str(), instruction.text.c_str());
}

Frame::Frame(Thread& thread, const Function& function)
    : thread_(thread),
      function_(function),
      caller_(thread.innermost),
      registers_(function.num_registers, ~std::uint64_t{0}),
      parameters_(function.parameter_bytes, kUnwritten),
      local_(function.local_bytes, kUnwritten) {
    thread.innermost = this;
}

void Frame::run() {
    const std::vector<Instruction>& code = function_.code;
    while (next_ < code.size()) {
        const Instruction& instruction = code[next_++];
        if (instruction.guard >= 0 &&
            ((registers_[std::size_t(instruction.guard)] & 1) != 0) == instruction.guard_is_negated) {
            continue;
        }
        instruction.run(*this, instruction);
    }
}

std::uint64_t Frame::other_bits(const Operand& operand) const {
    switch (operand.kind) {
        case Operand::Kind::negated:
            return ~registers_[operand.index] & 1;
        case Operand::Kind::special:
            return special_register(operand.index, thread_.grid.dynamic_shared_bytes);
        case Operand::Kind::local:
            return reinterpret_cast<std::uint64_t>(local_.data()) + operand.value;
        case Operand::Kind::parameters:
            return reinterpret_cast<std::uint64_t>(parameters_.data()) + operand.value;
        default:
            return 0;  // a sink
    }
}

void Frame::call(const Instruction& instruction) {
    const Call& call = *instruction.call;
    if (call.callee == nullptr || !call.callee->is_defined) {
        fault_at(instruction, "a call of " + call.name + ", which the module only declares");
    }
    if (call.callee->parameters.size() != call.arguments.size() ||
        call.callee->results.size() != call.results.size()) {
        fault_at(instruction, "a call with other parameters than " + call.name + " has");
    }
    Frame inner(thread_, *call.callee);
    for (std::size_t i = 0; i < call.arguments.size(); ++i) {
        const Piece& to = call.callee->parameters[i];
        std::memcpy(inner.parameters() + to.offset, parameters() + call.arguments[i], to.bytes);
    }
    inner.run();
    if (thread_.has_exited) leave();
    for (std::size_t i = 0; i < call.results.size(); ++i) {
        const Piece& from = call.callee->results[i];
        std::memcpy(parameters() + call.results[i], inner.parameters() + from.offset, from.bytes);
    }
}

void run_thread_of(Grid& grid) {
    Thread thread{grid};
    const Place where{grid.kernel.name.c_str(), 0};
    if (grid.kernel.shared_bytes > 0) {
        thread.shared = static_cast<char*>(shared_variable(&grid.kernel, grid.kernel.shared_bytes, where));
    }
    if (grid.kernel.uses_dynamic_shared) thread.dynamic_shared = static_cast<char*>(dynamic_shared(where));
    Frame frame(thread, grid.kernel);
    std::memcpy(frame.parameters(), grid.arguments.data(), grid.arguments.size());
    frame.run();
}

}  // namespace sy::emulation::ptx
