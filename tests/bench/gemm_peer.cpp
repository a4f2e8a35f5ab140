// Our matrix products in turns with oneDNN's, on one thread, by processor time, each result checked against sums in
// double. Shapes are those of experts, attention, routers and generation.
// Usage: gemm_peer [f32 | bf16]
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <dnnl.hpp>
#include <functional>
#include <limits>
#include <string>

#include "kernels/core/arena.hpp"
#include "kernels/core/peak.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/core/tensor.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"

namespace {

using namespace sy;
using ops::Transpose;

struct Sides {
    index_t m, k, n;
    Transpose a = Transpose::no;
    Transpose b = Transpose::no;
};

double thread_seconds() {
    timespec now{};
    SY_REQUIRE(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0, "no clock of the thread's time");
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Best seconds of each body, called in turns for half a second.
std::array<double, 2> best_in_turns(const std::function<void()>& ours, const std::function<void()>& theirs) {
    std::array best{std::numeric_limits<double>::infinity(), std::numeric_limits<double>::infinity()};
    ours();
    theirs();
    const double end = thread_seconds() + 0.5;
    do {
        for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
            const double start = thread_seconds();
            i == 0 ? ours() : theirs();
            best[i] = std::min(best[i], thread_seconds() - start);
        }
    } while (thread_seconds() < end);
    return best;
}

/// oneDNN's product; its primitives are kept by its own cache.
class Peer {
  public:
    void multiply(const ops::HostProduct<float>& p, index_t num_k) const {
        const auto letter = [](Transpose t) { return t == Transpose::yes ? 'T' : 'N'; };
        const dnnl_status_t status = dnnl_sgemm(
            letter(p.transpose_a), letter(p.transpose_b), p.c.rows, p.c.cols, num_k, 1.0F, p.a.data,
            p.a.stride, p.b.data, p.b.stride, p.write == Write::add ? 1.0F : 0.0F, p.c.data, p.c.stride);
        SY_REQUIRE(status == dnnl_success, "dnnl_sgemm failed with status ", static_cast<int>(status));
    }
    void multiply(const ops::HostProduct<bf16>& p, index_t) const {
        const dnnl::memory::desc a = describe(p.a, p.transpose_a);
        const dnnl::memory::desc b = describe(p.b, p.transpose_b);
        const dnnl::memory::desc c({p.c.rows, p.c.cols}, dnnl::memory::data_type::f32,
                                   dnnl::memory::dims{p.c.stride, 1});
        const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c), engine_);
        dnnl::memory a_memory(a, engine_, const_cast<bf16*>(p.a.data));
        dnnl::memory b_memory(b, engine_, const_cast<bf16*>(p.b.data));
        dnnl::memory c_memory(c, engine_, p.c.data);
        dnnl::stream stream(engine_);
        dnnl::matmul(description)
            .execute(stream,
                     {{DNNL_ARG_SRC, a_memory}, {DNNL_ARG_WEIGHTS, b_memory}, {DNNL_ARG_DST, c_memory}});
        stream.wait();
    }

  private:
    static dnnl::memory::desc describe(const MatrixView<const bf16>& x, Transpose transpose) {
        using dims = dnnl::memory::dims;
        if (transpose == Transpose::no)
            return {dims{x.rows, x.cols}, dnnl::memory::data_type::bf16, dims{x.stride, 1}};
        return {dims{x.cols, x.rows}, dnnl::memory::data_type::bf16, dims{1, x.stride}};
    }
    dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
};

template <class In>
Tensor random(Arena& arena, index_t rows, index_t cols, std::uint64_t stream) {
    Tensor values(arena, dtype_of<In>::value, {rows, cols});
    std::uint64_t i = 0;
    for (In& value : values.values<In>()) value = In(normal({stream, 0, 0, RandomPurpose::test}, i++));
    return values;
}

/// Largest error of 64 elements over the largest of them.
template <class In>
double sampled_error(const ops::HostProduct<In>& p, const Sides& s) {
    double error = 0.0;
    double scale = 0.0;
    for (index_t i = 0; i < 64; ++i) {
        const index_t m = i * 7919 % s.m;
        const index_t n = (i * 104729 + 13) % s.n;
        double sum = 0.0;
        for (index_t k = 0; k < s.k; ++k) {
            const In a = s.a == Transpose::yes ? p.a(k, m) : p.a(m, k);
            const In b = s.b == Transpose::yes ? p.b(n, k) : p.b(k, n);
            sum += static_cast<double>(static_cast<float>(a)) * static_cast<double>(static_cast<float>(b));
        }
        error = std::max(error, std::fabs(sum - static_cast<double>(p.c(m, n))));
        scale = std::max(scale, std::fabs(sum));
    }
    return error / scale;
}

template <class In>
bool compare(const Sides& s, double peak) {
    Arena arena;
    const bool ta = s.a == Transpose::yes;
    const bool tb = s.b == Transpose::yes;
    const Tensor a = random<In>(arena, ta ? s.k : s.m, ta ? s.m : s.k, 1);
    const Tensor b = random<In>(arena, tb ? s.n : s.k, tb ? s.k : s.n, 2);
    Tensor ours(arena, DType::f32, {s.m, s.n});
    Tensor theirs(arena, DType::f32, {s.m, s.n});
    const ops::HostProduct<In> own{a.matrix<In>(), s.a, b.matrix<In>(), s.b, ours.matrix<float>()};
    ops::HostProduct<In> other = own;
    other.c = theirs.matrix<float>();
    const ops::Gemm gemm;
    const Peer peer;
    const auto [own_s, peer_s] =
        best_in_turns([&] { gemm.multiply(own); }, [&] { peer.multiply(other, s.k); });
    const double gflop = 2e-9 * static_cast<double>(s.m * s.k * s.n);
    const bool right = sampled_error(own, s) < 1e-5 && sampled_error(other, s) < 1e-5;
    const std::string shape = concat(s.m, " x ", s.k, " x ", s.n, ta ? " At" : "", tb ? " Bt" : "");
    std::printf("%-24s %-5s %9.1f %9.1f %9.2f %9.3f  %s\n", shape.c_str(),
                std::string(dtype_name(dtype_of<In>::value)).c_str(), gflop / own_s, gflop / peer_s,
                gflop / own_s / peak, peer_s / own_s, right ? "right" : "WRONG");
    return right;
}

template <class In>
bool compare_all() {
    using enum Transpose;
    ThreadTeam team(1);
    const double peak = measure_peak_gflops(team, dtype_of<In>::value);
    bool right = true;
    for (const Sides& s :
         {Sides{384, 512, 352}, Sides{1024, 512, 1408}, Sides{1024, 512, 1408, no, yes},
          Sides{1024, 1408, 512}, Sides{512, 1024, 1408, yes}, Sides{1408, 1024, 512, yes},
          Sides{2048, 2048, 2048}, Sides{384, 352, 512, no, yes}, Sides{352, 384, 512, yes},
          Sides{64, 64, 64}, Sides{64, 64, 64, no, yes}, Sides{256, 256, 64}, Sides{4096, 512, 8},
          Sides{4096, 512, 64}, Sides{64, 512, 1408}, Sides{16, 512, 1408}, Sides{16, 512, 1408, no, yes},
          Sides{4, 512, 1408}, Sides{1, 512, 1408}})
        right = compare<In>(s, peak) && right;
    return right;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string only = argc > 1 ? argv[1] : "";
    omp_set_num_threads(1);
    const dnnl_version_t* const version = dnnl_version();
    std::printf("%s against oneDNN %d.%d.%d, one thread, GFLOP/s\n%-24s %-5s %9s %9s %9s %9s\n",
                std::string(isa_name(isa())).c_str(), version->major, version->minor, version->patch, "shape",
                "dtype", "ours", "oneDNN", "of peak", "ratio");
    bool right = true;
    if (only != "bf16") right = compare_all<float>() && right;
    if (only != "f32") right = compare_all<bf16>() && right;
    return right ? 0 : 1;
}
