#include "tests/unit/kernels/cuda_routes.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "tests/support/emulated_gpu.hpp"
#include "tests/unit/kernels/device_comparison.hpp"

namespace sy::test {
namespace {

void write_number(std::ostream& out, std::uint64_t value) {
    out.write(reinterpret_cast<const char*>(&value), sizeof value);
}

std::uint64_t read_number(std::istream& in) {
    std::uint64_t value = 0;
    in.read(reinterpret_cast<char*>(&value), sizeof value);
    if (!in) throw Error("the results of the other route end early");
    return value;
}

}  // namespace

std::string route_results_file() {
    const char* name = std::getenv("SY_ROUTE_RESULTS");
    if (name == nullptr) throw Error("SY_ROUTE_RESULTS has to name a file");
    return name;
}

Pieces run_on_gpu(const NamedCase& named) {
    EmulatedGpu device;
    const Context context{device, device.compute()};
    OperationCase on(context);
    named.run(on);
    return on.pieces();
}

std::vector<NamedCase> all_cases() {
    std::vector<NamedCase> all(operation_cases().begin(), operation_cases().end());
    all.insert(all.end(), edge_cases().begin(), edge_cases().end());
    return all;
}

void write_pieces(std::ostream& out, const Pieces& pieces) {
    write_number(out, pieces.size());
    for (const OperationCase::Piece& piece : pieces) {
        write_number(out, static_cast<std::uint64_t>(piece.dtype));
        write_number(out, piece.bytes.size());
        out.write(reinterpret_cast<const char*>(piece.bytes.data()),
                  static_cast<std::streamsize>(piece.bytes.size()));
    }
}

Pieces read_pieces(std::istream& in) {
    Pieces pieces(read_number(in));
    for (OperationCase::Piece& piece : pieces) {
        piece.dtype = static_cast<DType>(read_number(in));
        piece.bytes.resize(read_number(in));
        in.read(reinterpret_cast<char*>(piece.bytes.data()),
                static_cast<std::streamsize>(piece.bytes.size()));
    }
    return pieces;
}

TEST_CASE("cuda routes: every case gives what the processor gives, and its results are written",
          "[.][write-results]") {
    std::ofstream out(route_results_file(), std::ios::binary);
    for (const NamedCase& named : all_cases()) {
        const Pieces pieces = run_on_gpu(named);
        check_pieces(named, pieces);
        write_pieces(out, pieces);
    }
    out.close();
    REQUIRE(out.good());
}

}  // namespace sy::test
