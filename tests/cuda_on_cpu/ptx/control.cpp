#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Branches, calls and returns, and what orders memory.
namespace sy::emulation::ptx {
namespace {

void branch(Frame& frame, const Instruction& i) {
    frame.jump(i.targets.front());
}
void branch_by_table(Frame& frame, const Instruction& i) {
    const auto entry = frame.get<std::uint32_t>(i[0]);
    if (entry >= i.targets.size()) {
        fault_at(i,
                 "entry " + std::to_string(entry) + " of " + std::to_string(i.targets.size()) + " branches");
    }
    frame.jump(i.targets[entry]);
}
void call(Frame& frame, const Instruction& i) {
    frame.call(i);
}
void leave(Frame& frame, const Instruction&) {
    frame.leave();
}
void exit_thread(Frame& frame, const Instruction&) {
    frame.exit_thread();
}
[[noreturn]] void trap(Frame&, const Instruction& i) {
    fault_at(i, "a trap");
}
void sleep(Frame&, const Instruction&) {
    yield();
}
void fence(Frame&, const Instruction&) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // namespace

Run find_control(Opcode& opcode, Instruction&) {
    if (opcode.name == "bra" || opcode.name == "brx" || opcode.name == "ret" || opcode.name == "call")
        opcode.take("uni");
    if (opcode.name == "bra") return branch;
    if (opcode.name == "brx") return opcode.take("idx") ? branch_by_table : nullptr;
    if (opcode.name == "call") return call;
    if (opcode.name == "ret") return leave;
    if (opcode.name == "exit") return exit_thread;
    if (opcode.name == "trap") return trap;
    if (opcode.name == "nanosleep") return opcode.has_types(1) ? sleep : nullptr;
    if (opcode.name == "membar" || opcode.name == "fence") {
        for (const std::string_view each :
             {"cta", "gl", "gpu", "sys", "sc", "acq_rel", "acquire", "release"}) {
            opcode.take(each);
        }
        return fence;
    }
    return nullptr;
}

}  // namespace sy::emulation::ptx
