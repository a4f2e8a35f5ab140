#include "tests/cuda_on_cpu/ptx/frame.hpp"
#include "tests/cuda_on_cpu/ptx/opcode.hpp"

// Moves between registers, and loads and stores.
namespace sy::emulation::ptx {
namespace {

template <typename T>
void move(Frame& frame, const Instruction& i) {
    frame.set(i[0], frame.get<T>(i[1]));
}
void move_predicate(Frame& frame, const Instruction& i) {
    frame.set(i[0], std::uint32_t(frame.is_true(i[1]) ? 1 : 0));
}

/// {a, b} = d: the first has the lowest bits. @tparam bits  of a lane
template <unsigned bits>
void unpack(Frame& frame, const Instruction& i) {
    std::uint64_t value = frame.bits(i[i.num_lanes]);
    for (std::size_t lane = 0; lane < i.num_lanes; ++lane, value >>= bits)
        frame.set(i[lane], value & ((std::uint64_t{1} << bits) - 1));
}
template <unsigned bits>
void pack(Frame& frame, const Instruction& i) {
    std::uint64_t value = 0;
    for (std::size_t lane = 0; lane < i.num_lanes; ++lane) {
        const std::uint64_t own = frame.bits(i[1 + lane]) & ((std::uint64_t{1} << bits) - 1);
        value |= own << (bits * lane);
    }
    frame.set(i[0], value);
}

Run find_packed(const Opcode& opcode, const Instruction& i) {
    switch (opcode.type().bits / i.num_lanes) {
        case 8:
            return i.first_has_lanes ? unpack<8> : pack<8>;
        case 16:
            return i.first_has_lanes ? unpack<16> : pack<16>;
        case 32:
            return i.first_has_lanes ? unpack<32> : pack<32>;
        default:
            return nullptr;
    }
}

void shared_to_generic(Frame& frame, const Instruction& i) {
    frame.set(i[0], frame.shared_to_generic(i, frame.bits(i[1])));
}
void generic_to_shared(Frame& frame, const Instruction& i) {
    frame.set(i[0], frame.generic_to_shared(i, frame.bits(i[1])));
}

/// Narrow numbers are extended, those with a sign by their sign.
template <typename T>
void load(Frame& frame, const Instruction& i) {
    using Stored = std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>;
    const char* from = frame.address(i, i[i.num_lanes], sizeof(T) * i.num_lanes, Access::read);
    for (std::size_t lane = 0; lane < i.num_lanes; ++lane) {
        T value;
        std::memcpy(&value, from + lane * sizeof(T), sizeof(T));
        frame.set(i[lane], Stored(value));
    }
}
template <typename T>
void store(Frame& frame, const Instruction& i) {
    char* to = frame.address(i, i[0], sizeof(T) * i.num_lanes, Access::write);
    for (std::size_t lane = 0; lane < i.num_lanes; ++lane) {
        const T value = frame.get<T>(i[1 + lane]);
        std::memcpy(to + lane * sizeof(T), &value, sizeof(T));
    }
}

Run find_load(Type type) {
    const bool is_signed = type.kind == Type::Kind::signed_integer;
    switch (type.bits) {
        case 8:
            return is_signed ? load<std::int8_t> : load<std::uint8_t>;
        case 16:
            return is_signed ? load<std::int16_t> : load<std::uint16_t>;
        case 32:
            return is_signed ? load<std::int32_t> : load<std::uint32_t>;
        case 64:
            return load<std::uint64_t>;
        default:
            return nullptr;
    }
}
Run find_store(Type type) {
    switch (type.bits) {
        case 8:
            return store<std::uint8_t>;
        case 16:
            return store<std::uint16_t>;
        case 32:
            return store<std::uint32_t>;
        case 64:
            return store<std::uint64_t>;
        default:
            return nullptr;
    }
}

/// Orders of memory and hints for caches, which change nothing where one thread runs at a time.
void take_hints(Opcode& opcode) {
    for (const std::string_view each : {"weak", "volatile", "relaxed", "acquire", "release", "acq_rel", "cta",
                                        "gpu", "sys", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt"}) {
        opcode.take(each);
    }
}

}  // namespace

void take_space(Opcode& opcode, Instruction& i) {
    i.space = Space::generic;
    if (opcode.take("global") || opcode.take("const")) i.space = Space::global;
    if (opcode.take("shared") || opcode.take("shared::cta")) i.space = Space::shared;
    if (opcode.take("local")) i.space = Space::local;
    if (opcode.take("param") || opcode.take("param::entry") || opcode.take("param::func"))
        i.space = Space::parameter;
}

Run find_move(Opcode& opcode, Instruction& i) {
    if (!opcode.has_types(1)) return nullptr;
    const Type type = opcode.type();
    if (opcode.name == "mov") {
        if (type.kind == Type::Kind::predicate) return move_predicate;
        if (i.num_lanes > 1) return find_packed(opcode, i);
        return type.bits == 16   ? move<std::uint16_t>
               : type.bits == 32 ? move<std::uint32_t>
               : type.bits == 64 ? move<std::uint64_t>
                                 : nullptr;
    }
    if (opcode.name == "cvta") {
        const bool is_from_generic = opcode.take("to");
        take_space(opcode, i);
        if (i.space == Space::shared) return is_from_generic ? generic_to_shared : shared_to_generic;
        return i.space == Space::generic || type.bits != 64 ? nullptr : move<std::uint64_t>;
    }
    return nullptr;
}

Run find_access(Opcode& opcode, Instruction& i) {
    if ((opcode.name != "ld" && opcode.name != "st") || !opcode.has_types(1)) return nullptr;
    take_space(opcode, i);
    take_hints(opcode);
    const int num_lanes = opcode.take("v2") ? 2 : opcode.take("v4") ? 4 : opcode.take("v8") ? 8 : 1;
    if (num_lanes != i.num_lanes) return nullptr;
    return opcode.name == "ld" ? find_load(opcode.type()) : find_store(opcode.type());
}

}  // namespace sy::emulation::ptx
