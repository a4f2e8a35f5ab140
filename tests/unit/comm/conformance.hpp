#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"
#include "kernels/core/philox.hpp"

/// Conformance suites: what every body of an interface of comm/ must do, as functions over a Communicator, so that the
/// same cases run on threads (comm_conformance_test) and under mpirun (tests/multirank/comm_conformance).
namespace sy::test {

/// Passes on any number of ranks, throws to fail.
struct ConformanceCase {
    std::string_view name;
    void (*run)(comm::Communicator& world);
};

/// The sizes of messages in the cases lie at and around multiples of this. A body that cuts messages into pieces runs the
/// cases once with pieces of this size: large enough that no case sends more than some thousand of them, which a busy
/// machine could not bring before the deadline; small enough for every library to send a piece before it is received,
/// since those of a refused message never are.
inline constexpr index_t kSmallPieceBytes = 500;

std::span<const ConformanceCase> communicator_cases();
std::span<const ConformanceCase> collectives_cases();
std::span<const ConformanceCase> reductions_cases();
std::span<const ConformanceCase> exchange_cases();
std::span<const ConformanceCase> gradient_sync_cases();
std::span<const ConformanceCase> shadow_sync_cases();
std::span<const ConformanceCase> relocation_cases();
/// For a world whose deadline is short: some ranks come late.
std::span<const ConformanceCase> deadline_cases();

/// All but the deadline cases.
std::vector<ConformanceCase> all_cases();

/// Byte `i` of a message that is recognisable by its sender, tag and number.
inline std::byte pattern(int source, int tag, std::size_t i) {
    return static_cast<std::byte>(
        (static_cast<std::size_t>(source) * 31 + static_cast<std::size_t>(tag) * 7 + i * 13 + i / 251) &
        255U);
}

inline std::vector<std::byte> pattern_message(int source, int tag, std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = pattern(source, tag, i);
    return bytes;
}

/// Fails naming the first element that differs. Bits count: -0.0 and 0.0 are equal, NaN is equal to nothing.
template <class T>
void require_equal(std::span<const T> found, std::span<const T> expected, std::string_view what) {
    SY_REQUIRE(found.size() == expected.size(), what, ": ", found.size(), " elements instead of ",
               expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        SY_REQUIRE(found[i] == expected[i], what, ": element ", i, " is ", +found[i], " instead of ",
                   +expected[i]);
    }
}

/// Runs `body` and returns the text of the Thrown it must throw.
template <class Thrown, class Body>
std::string require_throws(const Body& body, std::string_view what) {
    try {
        body();
    } catch (const Thrown& error) {
        return error.what();
    }
    SY_REQUIRE(false, what, ": nothing was thrown");
    return {};
}

/// Small reproducible random numbers for tests: the nth draw of a seed.
class Draws {
  public:
    explicit Draws(std::uint64_t seed) : seed_(seed) {}
    /// Uniform in [0, bound).
    index_t below(index_t bound) {
        const float share = uniform({seed_, 0, 0, RandomPurpose::test}, next_++);
        return std::min<index_t>(bound - 1, static_cast<index_t>(share * static_cast<float>(bound)));
    }

  private:
    std::uint64_t seed_;
    std::uint64_t next_ = 0;
};

}  // namespace sy::test
