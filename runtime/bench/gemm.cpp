#include <algorithm>
#include <cmath>

#include "kernels/core/peak.hpp"
#include "runtime/bench/bench.hpp"

namespace sy::runtime::bench {
namespace {

/// A product by its sides, and which operands are stored turned.
struct Sides {
    index_t m, k, n;
    ops::Transpose a = ops::Transpose::no;
    ops::Transpose b = ops::Transpose::no;
};

std::string name_of(const Sides& sides) {
    return concat(sides.m, " x ", sides.k, " x ", sides.n, sides.a == ops::Transpose::yes ? " At" : "",
                  sides.b == ops::Transpose::yes ? " Bt" : "");
}

template <class In>
double wide(In value) {
    return static_cast<double>(static_cast<float>(value));
}

/// Largest error of nine elements against sums in double, over the largest of them.
template <class In>
double sampled_error(const ops::HostProduct<In>& product, const Sides& sides) {
    double error = 0.0;
    double scale = 0.0;
    for (const index_t m : {index_t{0}, sides.m / 3, sides.m - 1}) {
        for (const index_t n : {index_t{0}, sides.n / 3, sides.n - 1}) {
            double sum = 0.0;
            for (index_t k = 0; k < sides.k; ++k) {
                const In a = sides.a == ops::Transpose::yes ? product.a(k, m) : product.a(m, k);
                const In b = sides.b == ops::Transpose::yes ? product.b(n, k) : product.b(k, n);
                sum += wide(a) * wide(b);
            }
            error = std::max(error, std::fabs(sum - wide(product.c(m, n))));
            scale = std::max(scale, std::fabs(sum));
        }
    }
    return error / scale;
}

template <class In>
void measure(const BenchOptions& options, const Sides& sides, Machine& machine, double peak, Report& report) {
    const bool ta = sides.a == ops::Transpose::yes;
    const bool tb = sides.b == ops::Transpose::yes;
    const Tensor a = machine.random<In>(ta ? Shape{sides.k, sides.m} : Shape{sides.m, sides.k}, 1);
    const Tensor b = machine.random<In>(tb ? Shape{sides.n, sides.k} : Shape{sides.k, sides.n}, 2);
    Tensor c(machine.device, DType::f32, {sides.m, sides.n});
    const ops::Product product{a, sides.a, b, sides.b, c};
    BenchRow row;
    row.what = "gemm";
    row.shape = name_of(sides);
    row.dtype = dtype_name(dtype_of<In>::value);
    row.mode = mode_name(machine.context.numerics);
    row.pass = "product";
    row.threads = machine.device.num_threads();
    row.times = time_repeatedly(options, [&] { ops::multiply(product, machine.context); });
    row.rate = 2e-6 * static_cast<double>(sides.m * sides.k * sides.n) / row.times.best_ms;
    row.share = row.rate / peak;
    row.error =
        sampled_error<In>({a.matrix<In>(), sides.a, b.matrix<In>(), sides.b, c.matrix<float>()}, sides);
    row.tolerance = 1e-5;
    report.row(row);
}

template <class In>
void measure_all(const BenchOptions& options, Report& report) {
    using enum ops::Transpose;
    for (const NumericsMode numerics : {NumericsMode::fast, NumericsMode::reproducible}) {
        Machine machine(options.threads, numerics);
        const double peak = measure_peak_gflops(machine.device.team(), dtype_of<In>::value);
        report.note(concat(dtype_name(dtype_of<In>::value), ", ", mode_name(numerics), ": ", options.threads,
                           " threads, ", isa_name(machine.device.gemm().isa()), ", register peak ", peak,
                           " GFLOP/s"));
        for (const Sides& sides :
             {Sides{16, 512, 1408}, Sides{64, 512, 1408}, Sides{384, 512, 352}, Sides{4096, 512, 1408},
              Sides{4096, 512, 1408, no, yes}, Sides{4096, 1408, 512}, Sides{512, 4096, 1408, yes, no},
              Sides{2048, 2048, 2048}}) {
            measure<In>(options, sides, machine, peak, report);
        }
    }
}

}  // namespace

void gemm(const BenchOptions& options, Report& report) {
    measure_all<float>(options, report);
    measure_all<bf16>(options, report);
}

}  // namespace sy::runtime::bench
