#include <atomic>
#include <cmath>

#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Atomic operations: atom gives what was there, red nothing.
namespace sy::emulation::ptx {
namespace {

/// What stands where the operation is at work, is operand `place`, and goes on behind.
template <typename T, typename F>
void change(Frame& frame, const Instruction& i, std::size_t place) {
    auto* at = reinterpret_cast<T*>(frame.address(i, i[place], sizeof(T), Access::write));
    const T a = frame.get<T>(i[place + 1]);
    const T b = i.num_operands > place + 2 ? frame.get<T>(i[place + 2]) : T(0);
    maybe_yield();
    const std::atomic_ref<T> shared(*at);
    T old = shared.load(std::memory_order_relaxed);
    while (!shared.compare_exchange_weak(old, T(F()(old, a, b)), std::memory_order_relaxed)) {
    }
    if (place > 0) frame.set(i[0], old);
}
template <typename F>
struct Atom {
    template <typename T>
    struct Code {
        static void run(Frame& frame, const Instruction& i) { change<T, F>(frame, i, 1); }
    };
};
template <typename F>
struct Red {
    template <typename T>
    struct Code {
        static void run(Frame& frame, const Instruction& i) { change<T, F>(frame, i, 0); }
    };
};

using Add = decltype([]<typename T>(T old, T a, T) {
    if constexpr (std::is_floating_point_v<T>) {
        return old + a;
    } else {
        return T(std::uint64_t(old) + std::uint64_t(a));
    }
});
using Smaller = decltype([](auto old, auto a, auto) { return a < old ? a : old; });
using Larger = decltype([](auto old, auto a, auto) { return old < a ? a : old; });
using And = decltype([](auto old, auto a, auto) { return old & a; });
using Or = decltype([](auto old, auto a, auto) { return old | a; });
using Exclusive = decltype([](auto old, auto a, auto) { return old ^ a; });
using Exchange = decltype([](auto, auto a, auto) { return a; });
using CompareExchange = decltype([](auto old, auto a, auto b) { return old == a ? b : old; });
using Increment = decltype([]<typename T>(T old, T a, T) { return old >= a ? T(0) : T(old + 1); });
using Decrement = decltype([]<typename T>(T old, T a, T) { return old == 0 || old > a ? a : T(old - 1); });

template <typename F>
Run on_integers(bool is_red, Type type) {
    return is_red ? for_integers<Red<F>::template Code>(type) : for_integers<Atom<F>::template Code>(type);
}
template <typename F>
Run on_reals(bool is_red, Type type) {
    return is_red ? for_reals<Red<F>::template Code>(type) : for_reals<Atom<F>::template Code>(type);
}

}  // namespace

Run find_atomic(Opcode& opcode, Instruction& i) {
    const bool is_red = opcode.name == "red";
    if ((!is_red && opcode.name != "atom") || !opcode.has_types(1)) return nullptr;
    take_space(opcode, i);
    for (const std::string_view each : {"relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys"}) {
        opcode.take(each);
    }
    const Type type = opcode.type();
    if (opcode.take("add")) {
        return type.is_integer() ? on_integers<Add>(is_red, type) : on_reals<Add>(is_red, type);
    }
    if (opcode.take("min")) return on_integers<Smaller>(is_red, type);
    if (opcode.take("max")) return on_integers<Larger>(is_red, type);
    if (opcode.take("and")) return on_integers<And>(is_red, type);
    if (opcode.take("or")) return on_integers<Or>(is_red, type);
    if (opcode.take("xor")) return on_integers<Exclusive>(is_red, type);
    if (opcode.take("inc")) return on_integers<Increment>(is_red, type);
    if (opcode.take("dec")) return on_integers<Decrement>(is_red, type);
    if (is_red) return nullptr;
    if (opcode.take("exch")) return on_integers<Exchange>(is_red, type);
    if (opcode.take("cas")) return on_integers<CompareExchange>(is_red, type);
    return nullptr;
}

}  // namespace sy::emulation::ptx
