#include <algorithm>
#include <array>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>

#include "tests/cuda_on_cpu/ptx/launch.hpp"
#include "tests/unit/kernels/cuda_routes.hpp"

// The kernels as nvcc compiles them, interpreted, against what the host's compiler makes of them.
namespace sy::test {
namespace {

/// Cases whose kernels call functions that a device approximates (expf, __expf and the like by ex2.approx, rcp.approx): the
/// interpreter's are the host's. Only their floats may be apart, by so much of the largest one of their tensor.
constexpr double kApproximate = 5e-7;
constexpr std::array<std::string_view, 13> kApproximated{"feed-forward of experts",
                                                         "pointwise functions",
                                                         "attention",
                                                         "head of a model",
                                                         "gate",
                                                         "noise of routers",
                                                         "assignments",
                                                         "elements of any number",
                                                         "activations of any number",
                                                         "routers of any sides",
                                                         "losses of long rows",
                                                         "rules of attention",
                                                         "feed-forwards of all kinds"};

template <class T>
std::vector<double> numbers_of(const std::vector<std::byte>& bytes) {
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(static_cast<void*>(values.data()), bytes.data(), bytes.size());
    std::vector<double> numbers;
    for (const T value : values) numbers.push_back(static_cast<double>(value));
    return numbers;
}

std::vector<double> numbers_of(const OperationCase::Piece& piece) {
    if (piece.dtype == DType::f64) return numbers_of<double>(piece.bytes);
    if (piece.dtype == DType::f32) return numbers_of<float>(piece.bytes);
    std::vector<double> numbers;
    for (const double bits : numbers_of<std::uint16_t>(piece.bytes)) {
        const auto word = static_cast<std::uint32_t>(bits) << 16;
        numbers.push_back(static_cast<double>(std::bit_cast<float>(word)));
    }
    return numbers;
}

/// Largest difference, of the largest number; infinite where one is not finite and the other is not the same. One NaN is as
/// good as another.
double difference(const OperationCase::Piece& piece, const OperationCase::Piece& expected) {
    if (piece.bytes == expected.bytes) return 0.0;
    if (piece.dtype != DType::f32 && piece.dtype != DType::f64 && piece.dtype != DType::bf16) return HUGE_VAL;
    const std::vector<double> values = numbers_of(piece), wanted = numbers_of(expected);
    double apart = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isfinite(wanted[i])) largest = std::max(largest, std::fabs(wanted[i]));
        if (values[i] == wanted[i] || (std::isnan(values[i]) && std::isnan(wanted[i]))) continue;
        const double own = std::fabs(values[i] - wanted[i]);
        if (!(own < HUGE_VAL)) return HUGE_VAL;
        apart = std::max(apart, own);
    }
    return apart == 0.0 ? 0.0 : apart / largest;
}

}  // namespace

TEST_CASE("cuda by nvcc: every case gives what the host's compiler makes of the kernels",
          "[.][compare-results]") {
    std::ifstream in(route_results_file(), std::ios::binary);
    std::size_t num_same = 0, num_approximate = 0;
    for (const NamedCase& named : all_cases()) {
        const bool is_approximated = std::ranges::find(kApproximated, named.name) != kApproximated.end();
        const Pieces expected = read_pieces(in), pieces = run_on_gpu(named);
        REQUIRE(pieces.size() == expected.size());
        for (std::size_t i = 0; i < pieces.size(); ++i) {
            INFO(named.name << ", result " << i << " in " << dtype_name(expected[i].dtype));
            REQUIRE(pieces[i].bytes.size() == expected[i].bytes.size());
            const double apart = difference(pieces[i], expected[i]);
            CHECK(apart <= (is_approximated ? kApproximate : 0.0));
            ++(apart == 0.0 ? num_same : num_approximate);
        }
    }
    CHECK(num_same > num_approximate);
    std::cout << num_same << " results are the same to the bit, " << num_approximate
              << " of approximated functions\n";
}

TEST_CASE("cuda by nvcc: every instruction of every kernel is interpreted, and the cases run every kernel",
          "[.][compare-results]") {
    // A kernel of a header is in several modules, of which one launches it.
    std::map<std::string, std::size_t> num_launches;
    for (const emulation::ptx::RegisteredKernel& kernel : emulation::ptx::registered_kernels())
        num_launches[kernel.name] += kernel.num_launches;
    CHECK(num_launches.size() > 100);
    for (const auto& [name, count] : num_launches) {
        INFO(name << " is in no case");
        CHECK(count > 0);
    }
}

}  // namespace sy::test
