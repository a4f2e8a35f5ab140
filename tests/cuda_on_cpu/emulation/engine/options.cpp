#include "tests/cuda_on_cpu/emulation/engine/options.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tests/cuda_on_cpu/emulation/engine/place.hpp"

namespace sy::emulation {
namespace {

[[noreturn]] void refuse(const char* name, const char* value, const char* expected) {
    std::fprintf(stderr, "CUDA emulation: %s=%s, but %s is expected\n", name, value, expected);
    std::exit(2);
}

template <typename T>
void read_number(const char* name, T& value) {
    const char* text = std::getenv(name);
    if (text == nullptr) return;
    const char* end = text + std::strlen(text);
    const auto [last, error] = std::from_chars(text, end, value);
    if (error != std::errc() || last != end || last == text) refuse(name, text, "a whole number");
}

void read_flag(const char* name, bool& value) {
    const char* text = std::getenv(name);
    if (text == nullptr) return;
    const std::string_view word = text;
    if (word != "0" && word != "1") refuse(name, text, "0 or 1");
    value = word == "1";
}

Order order_from_environment() {
    const char* text = std::getenv("SY_EMULATION_ORDER");
    const std::string_view word = text == nullptr ? "fifo" : text;
    if (word == "fifo") return Order::fifo;
    if (word == "reverse") return Order::reverse;
    if (word != "random") refuse("SY_EMULATION_ORDER", text, "fifo, reverse or random");
    return Order::random;
}

Options from_environment() {
    Options read;
    read.order = order_from_environment();
    read_number("SY_EMULATION_SEED", read.seed);
    read_number("SY_EMULATION_RESIDENT", read.num_resident);
    read_flag("SY_EMULATION_LAZY", read.lazy);
    read_flag("SY_EMULATION_FENCE", read.fence);
    std::size_t mib = read.memory_bytes >> 20;
    read_number("SY_EMULATION_MEMORY_MIB", mib);
    read.memory_bytes = mib << 20;
    read_number("SY_EMULATION_DEVICES", read.num_devices);
    read_flag("SY_EMULATION_DRIVER", read.has_driver);
    read_number("SY_EMULATION_DRIVER_VERSION", read.driver_version);
    read_number("SY_EMULATION_BREAK_AT", read.break_at);
    read_number("SY_EMULATION_IDENTITIES", read.num_identities);
    read_number("SY_EMULATION_DEADLINE_S", read.deadline_s);
    if (read.num_resident == 0) refuse("SY_EMULATION_RESIDENT", "0", "one block or more");
    return read;
}

std::uint64_t& drawn() {
    static std::uint64_t state = options().seed * 0x9e3779b97f4a7c15U + 1;
    return state;
}

}  // namespace

bool Place::operator==(const Place& other) const {
    return line == other.line && std::strcmp(file, other.file) == 0;
}

Options& options() {
    static Options value = from_environment();
    return value;
}

std::uint64_t draw(std::uint64_t bound) {  // splitmix64
    std::uint64_t bits = drawn() += 0x9e3779b97f4a7c15U;
    bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9U;
    bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebU;
    return (bits ^ (bits >> 31)) % bound;
}

void reseed() {
    drawn() = options().seed * 0x9e3779b97f4a7c15U + 1;
}

}  // namespace sy::emulation
