// Share of the register peak, measured in the same run, that products and the expert feed-forward reach; each
// result that is timed is checked against sums in double.
// "of peak" counts wall time; "by CPU time" counts the processor time of all threads, which other programs on the
// machine do not lengthen, but which does not show idle threads either.
// Usage: bench_expert_ffn [threads] [repeats] [f32 | bf16] [fast | reproducible] [library | own | measured]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <iomanip>
#include <iostream>

#include "kernels/core/peak.hpp"
#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/random/random.hpp"

namespace {

using namespace sy;

double wide(float value) {
    return static_cast<double>(value);
}
double wide(bf16 value) {
    return static_cast<double>(static_cast<float>(value));
}

struct Bench {
    ThreadTeam team;
    Arena arena;
    ops::Gemm gemm;
    NumericsMode numerics;
    Context context;
    int repeats;
    double peak = 0.0;

    Bench(int threads, NumericsMode mode, int repeats_, ops::FastBody body)
        : team(threads), gemm(body), numerics(mode), context{team, arena, gemm, mode}, repeats(repeats_) {}

    template <class In>
    Tensor random(Shape shape, std::uint64_t stream, float deviation) {
        Tensor values(arena, DType::f32, shape);
        ops::fill_normal({stream, 0, 0, RandomPurpose::test}, 0, deviation, values.values<float>(), context);
        if constexpr (std::is_same_v<In, float>) {
            return values;
        } else {
            Tensor rounded(arena, DType::bf16, shape);
            ops::cast(values.matrix<float>(), rounded.matrix<bf16>(), context);
            return rounded;
        }
    }
    /// Best of `repeats` after one run for warming up, printed as a share of the peak.
    void time(const std::string& what, double flops, const std::function<void()>& body) const {
        double best = HUGE_VAL;
        double best_cpu = HUGE_VAL;
        for (int repeat = 0; repeat <= repeats; ++repeat) {
            const auto start = std::chrono::steady_clock::now();
            const std::clock_t cpu_start = std::clock();
            body();
            const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
            const double cpu_seconds = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
            if (repeat == 0) continue;
            best = std::min(best, seconds.count());
            best_cpu = std::min(best_cpu, cpu_seconds);
        }
        const double rate = flops / best / 1e9;
        std::cout << "  " << std::left << std::setw(44) << what << std::right << std::fixed
                  << std::setprecision(2) << std::setw(10) << best * 1e3 << std::setw(10) << rate
                  << std::setw(10) << rate / peak << std::setw(14)
                  << flops / best_cpu / 1e9 / (peak / team.size()) << "\n";
    }
};

void check_near(const std::string& what, double got, double expected, double tolerance) {
    if (!(std::fabs(got - expected) <= tolerance))
        throw Error(concat(what, ": ", got, " instead of ", expected));
}

template <class In>
constexpr double tolerance() {
    // Sums of up to 4096 products of values near 1 in float32; bf16 intermediates carry 8 bits.
    return std::is_same_v<In, float> ? 2e-3 : 0.5;
}

template <class In>
void bench_product(Bench& bench, ops::Transpose turn_a, ops::Transpose turn_b, index_t m, index_t k,
                   index_t n) {
    const bool ta = turn_a == ops::Transpose::yes;
    const bool tb = turn_b == ops::Transpose::yes;
    const Tensor a = bench.random<In>(ta ? Shape{k, m} : Shape{m, k}, 1, 1.0F);
    const Tensor b = bench.random<In>(tb ? Shape{n, k} : Shape{k, n}, 2, 1.0F);
    Tensor c(bench.arena, DType::f32, {m, n});
    const auto av = a.matrix<In>();
    const auto bv = b.matrix<In>();
    const ops::Product<In> product{av, turn_a, bv, turn_b, c.matrix<float>(), 0.0F};
    bench.time(concat(m, " x ", k, " x ", n, ta ? " transposed" : "", tb ? " by transposed" : ""),
               2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n),
               [&] { ops::multiply(product, bench.context); });
    for (const index_t row : {index_t{0}, m / 3, m - 1}) {
        for (const index_t col : {index_t{0}, n / 3, n - 1}) {
            double sum = 0.0;
            for (index_t i = 0; i < k; ++i)
                sum += wide(ta ? av(i, row) : av(row, i)) * wide(tb ? bv(col, i) : bv(i, col));
            check_near("product", wide(c.matrix<float>()(row, col)), sum, 2e-3);
        }
    }
}

struct LayerShape {
    const char* name;
    index_t tokens, hidden, width, experts, top_k;
};

/// Slots as a router with slightly uneven load would make them: token t meets top_k different experts.
struct Routing {
    static constexpr std::int32_t kSequence = 256;
    std::vector<index_t> offsets{0};
    std::vector<index_t> blocks{0};
    std::vector<std::int32_t> row;
    std::vector<float> weight;

    explicit Routing(const LayerShape& shape) {
        const auto experts = static_cast<std::size_t>(shape.experts);
        std::vector<std::vector<std::int32_t>> queue(experts);
        for (index_t token = 0; token < shape.tokens; ++token) {
            const RandomKey key{7, 0, 0, RandomPurpose::test};
            // Squaring favours low experts for the first choice; the others follow at a fixed stride.
            const double u = wide(uniform(key, static_cast<std::uint64_t>(token)));
            const auto first = static_cast<std::size_t>(0.5 * (u + u * u) * static_cast<double>(experts));
            const std::size_t stride = experts / static_cast<std::size_t>(shape.top_k);
            for (index_t choice = 0; choice < shape.top_k; ++choice) {
                queue[(first + static_cast<std::size_t>(choice) * stride) % experts].push_back(
                    static_cast<std::int32_t>(token));
            }
        }
        for (const std::vector<std::int32_t>& tokens : queue) {
            row.insert(row.end(), tokens.begin(), tokens.end());
            for (std::size_t i = 1; i < tokens.size(); ++i) {
                if (tokens[i] / kSequence != tokens[i - 1] / kSequence)
                    blocks.push_back(offsets.back() + static_cast<index_t>(i));
            }
            blocks.push_back(static_cast<index_t>(row.size()));
            offsets.push_back(static_cast<index_t>(row.size()));
        }
        weight.assign(row.size(), 1.0F / static_cast<float>(shape.top_k));
    }
};

/// Operands and results of one layer of experts.
template <class In>
struct Layer {
    LayerShape shape;
    Routing routing;
    Tensor x, dy, gate, up, down, saved, out, dx, gradient, fixed;
    std::vector<float> dweight;
    std::vector<GradientView> views[3];
    bool overflow = false;

    Layer(Bench& bench, const LayerShape& s)
        : shape(s),
          routing(s),
          x(bench.random<In>({s.tokens, s.hidden}, 1, 1.0F)),
          dy(bench.random<In>({s.tokens, s.hidden}, 2, 1.0F)),
          gate(bench.random<In>({s.experts, s.hidden, s.width}, 3, deviation(s.hidden))),
          up(bench.random<In>({s.experts, s.hidden, s.width}, 4, deviation(s.hidden))),
          down(bench.random<In>({s.experts, s.width, s.hidden}, 5, deviation(s.width))),
          saved(bench.arena, dtype_of<In>::value, {2, num_slots(), s.width}),
          out(bench.arena, DType::f32, {num_slots(), s.hidden}),
          dx(bench.arena, DType::f32, {num_slots(), s.hidden}),
          gradient(bench.arena, DType::f32, {3, s.experts, s.hidden * s.width}),
          dweight(static_cast<std::size_t>(num_slots())) {
        if (bench.numerics == NumericsMode::reproducible)
            fixed = Tensor(bench.arena, DType::i64, {3, s.experts, s.hidden * s.width});
        for (index_t i = 0; i < 3 * s.experts; ++i) {
            const index_t first = i * s.hidden * s.width;
            const index_t rows = i / s.experts == 2 ? s.width : s.hidden;
            float* const f32 = fixed.empty() ? gradient.values<float>().data() + first : nullptr;
            std::int64_t* const whole = fixed.empty() ? nullptr : fixed.values<std::int64_t>().data() + first;
            views[i / s.experts].push_back({f32, whole, rows, s.hidden * s.width / rows, &overflow});
        }
    }
    static float deviation(index_t width) { return 1.0F / std::sqrt(static_cast<float>(width)); }
    index_t num_slots() const { return routing.offsets.back(); }
    ops::ExpertSlots slots() const { return {routing.offsets, routing.row, routing.weight, routing.blocks}; }
    ops::ExpertWeights<In> weights() const {
        return {{gate.values<In>().data(), shape.experts, shape.hidden, shape.width},
                {up.values<In>().data(), shape.experts, shape.hidden, shape.width},
                {down.values<In>().data(), shape.experts, shape.width, shape.hidden}};
    }
    ops::ExpertSaved<In> kept() {
        In* const data = saved.values<In>().data();
        return {{data, num_slots(), shape.width},
                {data + num_slots() * shape.width, num_slots(), shape.width}};
    }
    void forward(const Context& context) {
        ops::expert_ffn<In>(x.matrix<In>(), weights(), slots(), kept(), out.matrix<float>(), context);
    }
    void backward(const Context& context) {
        const ops::ExpertSaved<In> values = kept();
        ops::expert_ffn_backward<In>(
            x.matrix<In>(), weights(), slots(), {values.gate, values.up},
            {dy.matrix<In>(), dx.matrix<float>(), dweight, {views[0], views[1], views[2]}}, context);
    }
    void clear() {
        gradient.fill_zero();
        fixed.fill_zero();
    }

    /// Outputs and input gradients of three slots, and one element of each weight gradient.
    void check() {
        for (const index_t slot : {index_t{0}, num_slots() / 2, num_slots() - 1}) check_slot(slot);
        const auto expert = static_cast<std::size_t>(shape.experts / 2);
        double sums[3] = {};
        const index_t f = shape.width / 3;
        const index_t h = shape.hidden / 5;
        for (index_t slot = routing.offsets[expert]; slot < routing.offsets[expert + 1]; ++slot)
            add_gradients(slot, static_cast<index_t>(expert), h, f, sums);
        const index_t element = static_cast<index_t>(expert) * shape.hidden * shape.width;
        const index_t plane = shape.experts * shape.hidden * shape.width;
        for (int i = 0; i < 3; ++i) {
            const index_t at = element + i * plane + (i == 2 ? f * shape.hidden + h : h * shape.width + f);
            const auto position = static_cast<std::size_t>(at);
            const double got =
                fixed.empty() ? wide(gradient.values<float>()[position])
                              : static_cast<double>(fixed.values<std::int64_t>()[position]) * kGradientUnit;
            check_near("weight gradient", got, sums[i], tolerance<In>());
        }
    }

  private:
    /// One slot through the reference, with its expert as the only one.
    void check_slot(index_t slot) {
        const auto upper = std::upper_bound(routing.offsets.begin(), routing.offsets.end(), slot);
        const index_t expert = upper - routing.offsets.begin() - 1;
        const ops::ExpertWeights<In> all = weights();
        const ops::ExpertWeights<In> one{{all.gate[expert].data, 1, shape.hidden, shape.width},
                                         {all.up[expert].data, 1, shape.hidden, shape.width},
                                         {all.down[expert].data, 1, shape.width, shape.hidden}};
        const std::vector<index_t> offsets{0, 1};
        const auto s = static_cast<std::size_t>(slot);
        const ops::ExpertSlots single{offsets, {&routing.row[s], 1}, {&routing.weight[s], 1}, {}};
        std::vector<float> expected(static_cast<std::size_t>(shape.hidden));
        ops::ref::expert_ffn<In>(x.matrix<In>(), one, single, {expected.data(), 1, shape.hidden});
        for (index_t i = 0; i < shape.hidden; ++i)
            check_near("output", wide(out.matrix<float>()(slot, i)),
                       wide(expected[static_cast<std::size_t>(i)]), tolerance<In>() / 10.0);
    }

    void add_gradients(index_t slot, index_t expert, index_t h, index_t f, double (&sums)[3]) {
        const auto s = static_cast<std::size_t>(slot);
        const index_t row = routing.row[s];
        const MatrixView<In> dy_rows = dy.matrix<In>();
        const MatrixView<const In> projection = weights().down[expert];
        double dh = 0.0;
        for (index_t i = 0; i < shape.hidden; ++i) dh += wide(dy_rows(row, i)) * wide(projection(f, i));
        dh *= wide(routing.weight[s]);
        const double g = wide(kept().gate(slot, f));
        const double u = wide(kept().up(slot, f));
        const double sigmoid = 1.0 / (1.0 + std::exp(-g));
        const double value = wide(x.matrix<In>()(row, h));
        sums[0] += value * dh * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
        sums[1] += value * dh * g * sigmoid;
        sums[2] += g * sigmoid * u * wide(routing.weight[s]) * wide(dy_rows(row, h));
    }
};

template <class In>
void bench_layer(Bench& bench, const LayerShape& shape) {
    Layer<In> layer(bench, shape);
    const double flops = 6.0 * static_cast<double>(layer.num_slots()) * static_cast<double>(shape.hidden) *
                         static_cast<double>(shape.width);
    bench.time(concat(shape.name, ": forward"), flops, [&] { layer.forward(bench.context); });
    bench.time(concat(shape.name, ": backward"), 2.0 * flops, [&] { layer.backward(bench.context); });
    bench.time(concat(shape.name, ": forward and backward"), 3.0 * flops, [&] {
        layer.forward(bench.context);
        layer.backward(bench.context);
    });
    layer.clear();
    layer.backward(bench.context);
    layer.check();
}

template <class In>
void bench_all(int threads, int repeats, NumericsMode numerics, ops::FastBody body) {
    Bench bench(threads, numerics, repeats, body);
    bench.peak = measure_peak_gflops(bench.team, dtype_of<In>::value);
    std::cout << dtype_name(dtype_of<In>::value) << ", "
              << (numerics == NumericsMode::fast ? "fast" : "reproducible") << ", " << threads
              << " threads, register peak " << std::fixed << std::setprecision(1) << bench.peak
              << " GFLOP/s, " << bench.gemm.name() << "\n  " << std::left << std::setw(44) << "what"
              << std::right << std::setw(10) << "ms" << std::setw(10) << "GFLOP/s" << std::setw(10)
              << "of peak"
              << "\n";
    using enum ops::Transpose;
    for (const auto& [m, k, n] : {std::tuple{4096, 512, 1408}, {4096, 1408, 512}, {384, 512, 352}}) {
        bench_product<In>(bench, no, no, m, k, n);
        bench_product<In>(bench, no, yes, m, k, n);
    }
    bench_product<In>(bench, yes, no, 512, 1024, 1408);
    bench_layer<In>(bench, {"coarse, 8 experts top-2", 4096, 512, 1408, 8, 2});
    bench_layer<In>(bench, {"fine, 64 experts top-6", 4096, 512, 352, 64, 6});
    bench_layer<In>(bench, {"one shared expert", 4096, 512, 704, 1, 1});
}

}  // namespace

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
    const int repeats = argc > 2 ? std::atoi(argv[2]) : 5;
    const std::string only_type = argc > 3 ? argv[3] : "";
    const std::string only_mode = argc > 4 ? argv[4] : "";
    const std::string fast_body = argc > 5 ? argv[5] : "measured";
    const ops::FastBody body = fast_body == "library" ? ops::FastBody::library
                               : fast_body == "own"   ? ops::FastBody::own
                                                      : ops::FastBody::measured;
    for (const auto& [mode, numerics] :
         {std::pair{"fast", NumericsMode::fast}, {"reproducible", NumericsMode::reproducible}}) {
        if (!only_mode.empty() && only_mode != mode) continue;
        if (only_type != "bf16") bench_all<float>(threads, repeats, numerics, body);
        if (only_type != "f32") bench_all<bf16>(threads, repeats, numerics, body);
    }
}
