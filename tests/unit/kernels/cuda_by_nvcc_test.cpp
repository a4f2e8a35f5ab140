#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <fstream>
#include <iostream>
#include <map>

#include "tests/cuda_on_cpu/ptx/launch.hpp"
#include "tests/unit/kernels/cuda_routes.hpp"
#include "tests/unit/kernels/device_comparison.hpp"

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
