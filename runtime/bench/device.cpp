// What any device moves and multiplies beside its two limits, copying of large arrays and one large product: what a mixture
// layer is made of, or products of other sides, or whole layers. The host reads results through HostValues alone.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>
#include <tuple>
#include <utility>

#include "comm/local/local_fabric.hpp"
#include "comm/topology/topology.hpp"
#include "kernels/core/indexed.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/bench/bench_layer.hpp"
#include "runtime/train/rank_device.hpp"

namespace sy::runtime::bench {
namespace {

constexpr double kFloat = sizeof(float);
/// No body takes longer.
constexpr std::chrono::minutes kDeadline{5};

/// Sides of what is measured.
struct Sizes {
    LayerShape layer;
    index_t copied;  ///< floats
    index_t side;    ///< of the square matrices of the large product
};

/// The sizes of the config, small ones for a processor, or such that they fill a GPU.
Sizes sizes_of(const BenchOptions& options) {
    const Config& config = options.config;
    if (options.has_config) {
        const index_t sequences = config.train.global_batch / config.train.accumulation;
        return {{"config", config.moe.experts, config.moe.top_k, config.moe.shared_experts,
                 config.moe.expert_width, sequences * config.model.seq_len, config.model.hidden,
                 config.model.seq_len},
                64 * sequences * config.model.seq_len * config.model.hidden,
                4 * config.model.hidden};
    }
    if (config.parallel.device == DeviceKind::cpu)
        return {{"64 experts", 64, 6, 2, 352}, index_t{64} << 20, 2048};
    return {{"64 experts", 64, 6, 2, 1408, 8192, 2048, 2048}, index_t{512} << 20, 8192};
}

double largest_difference(const std::vector<double>& got, const std::vector<double>& expected) {
    double largest = 0.0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double difference = std::fabs(got[i] - expected[i]);
        largest = std::isfinite(difference) ? std::max(largest, difference) : HUGE_VAL;
    }
    return largest;
}

double largest_magnitude(const std::vector<double>& values) {
    double largest = 0.0;
    for (const double value : values) largest = std::max(largest, std::fabs(value));
    return largest;
}

/// The device with the sizes, the limits as they are found, and the report.
class DeviceBench {
  public:
    DeviceBench(const BenchOptions& options, const Sizes& sizes, Device& device, Report& report)
        : options_(options), sizes_(sizes), context_{device, device.compute()}, report_(report) {}

    /// Of what is measured from now on.
    void set_numerics(NumericsMode numerics) { context_.numerics = numerics; }

    void copying();
    void rows();
    void large_product(DType dtype);
    /// Products of the sides that a layer has, and of few rows, beside the large one.
    void products(DType dtype);
    void experts(DType dtype);
    void layer(DType dtype, comm::Communicator& world);

  private:
    /// @param body  queues work, which is waited for
    std::function<void()> done(std::function<void()> body) const {
        return [this, body = std::move(body)] {
            body();
            context_.stream.synchronise(kDeadline);
        };
    }
    std::vector<Times> time(std::span<const std::function<void()>> bodies) const;
    std::vector<double> row_of(ConstTensorRef values, index_t row) const {
        return read_doubles(values.rows_of({row, row + 1}), context_);
    }
    BenchRow row(const std::string& shape, DType dtype, const char* pass) const;
    /// Times C = A B, of FLOPs a millisecond, against sums in double.
    BenchRow product(const char* pass, const ops::Product& product) const;
    /// Largest error of nine elements of C = A B, turned as the product says, against sums in double, over the largest of them.
    double product_error(const ops::Product& product) const;

    const BenchOptions& options_;
    const Sizes& sizes_;
    Context context_;
    Report& report_;
    double bandwidth_ = 0.0;  ///< bytes a millisecond
    double peak_ = 0.0;       ///< FLOPs a millisecond, of the dtype that was measured last
};

/// Groups of products try their ways at the first uses.
std::vector<Times> DeviceBench::time(std::span<const std::function<void()>> bodies) const {
    constexpr int kFirstUses = 12;
    if (options_.seconds > 0.0) {
        for (int use = 0; use < kFirstUses; ++use) {
            for (const std::function<void()>& body : bodies) body();
        }
    }
    return time_in_turns(options_, bodies);
}

BenchRow DeviceBench::row(const std::string& shape, DType dtype, const char* pass) const {
    BenchRow row;
    row.what = options_.what;
    row.shape = shape;
    row.dtype = dtype_name(dtype);
    row.mode = mode_name(context_.numerics);
    row.pass = pass;
    row.threads = options_.threads;
    return row;
}

void DeviceBench::copying() {
    const index_t cols = sizes_.copied / 64;
    const Tensor from = random_values(context_, DType::f32, {64, cols}, 1);
    Tensor to(context_.device, DType::f32, from.shape());
    const std::function<void()> bodies[] = {done([&] { ops::copy(from, to, context_); })};
    BenchRow row = this->row(concat(sizes_.copied, " floats"), DType::f32, "copy, the limit");
    row.times = time(bodies)[0];
    bandwidth_ = 2.0 * kFloat * static_cast<double>(sizes_.copied) / row.times.best_ms;
    row.rate = 1e-6 * bandwidth_;
    row.error = row_of(to, 63) == row_of(from, 63) ? 0.0 : HUGE_VAL;
    report_.row(row);
}

void DeviceBench::rows() {
    const index_t tokens = sizes_.layer.tokens, hidden = sizes_.layer.hidden, top_k = sizes_.layer.top_k;
    const index_t num_slots = tokens * top_k;
    const Tensor x = random_values(context_, DType::f32, {tokens, hidden}, 1);
    const Tensor slots = random_values(context_, DType::f32, {num_slots, hidden}, 2);
    PerSlot<std::int32_t> source(num_slots);
    PerSlot<std::int32_t> slot(num_slots);
    PerToken<index_t> offsets(tokens + 1);
    for (index_t i = 0; i < num_slots; ++i) {
        source[i] = static_cast<std::int32_t>(i * 2654435761 % tokens);
        slot[i] = static_cast<std::int32_t>((i * 40503 + 7) % num_slots);
    }
    for (index_t t = 0; t <= tokens; ++t) offsets[t] = t * top_k;
    Tensor gathered(context_.device, DType::f32, {num_slots, hidden});
    Tensor sums(context_.device, DType::f32, {tokens, hidden});
    const std::function<void()> bodies[] = {
        done([&] { ops::gather_rows(x, std::span<const std::int32_t>(source), gathered, context_); }),
        done([&] { ops::sum_rows(slots, offsets, slot, Write::overwrite, sums, context_); })};
    const std::vector<Times> times = time(bodies);
    const auto finish = [&](BenchRow row, double floats, const Times& taken, double error) {
        row.times = taken;
        row.rate = 1e-6 * kFloat * floats / taken.best_ms;
        row.share = 1e6 * row.rate / bandwidth_;
        row.error = error;
        row.tolerance = 1e-5;
        report_.row(row);
    };
    const index_t last = num_slots - 1;
    finish(row("permutation of rows", DType::f32, "dispatch"), 2.0 * static_cast<double>(num_slots * hidden),
           times[0], row_of(gathered, last) == row_of(x, source[last]) ? 0.0 : HUGE_VAL);
    std::vector<double> expected(static_cast<std::size_t>(hidden));
    for (index_t i = offsets[tokens - 1]; i < num_slots; ++i) {
        const std::vector<double> addend = row_of(slots, slot[i]);
        std::ranges::transform(expected, addend, expected.begin(), std::plus<>());
    }
    const double error = largest_difference(row_of(sums, tokens - 1), expected);
    finish(row("sums of a token's rows", DType::f32, "combine"),
           static_cast<double>((num_slots + tokens) * hidden), times[1], error);
}

double DeviceBench::product_error(const ops::Product& product) const {
    const auto line = [&](ConstTensorRef operand, bool is_row, index_t i) {
        return read_doubles(is_row ? operand.rows_of({i, i + 1}) : operand.cols_of({i, i + 1}), context_);
    };
    std::vector<double> got, expected;
    for (const index_t n : {index_t{0}, product.c.cols() / 3, product.c.cols() - 1}) {
        const std::vector<double> b = line(product.b, product.transpose_b == ops::Transpose::yes, n);
        for (const index_t m : {index_t{0}, product.c.rows() / 3, product.c.rows() - 1}) {
            const std::vector<double> a = line(product.a, product.transpose_a == ops::Transpose::no, m);
            expected.push_back(std::inner_product(a.begin(), a.end(), b.begin(), 0.0));
            got.push_back(row_of(product.c, m)[static_cast<std::size_t>(n)]);
        }
    }
    return largest_difference(got, expected) / largest_magnitude(expected);
}

BenchRow DeviceBench::product(const char* pass, const ops::Product& product) const {
    const bool is_turned = product.transpose_a == ops::Transpose::yes;
    const index_t depth = is_turned ? product.a.rows() : product.a.cols();
    const std::function<void()> bodies[] = {done([&] { ops::multiply(product, context_); })};
    BenchRow row =
        this->row(concat(product.c.rows(), " x ", depth, " x ", product.c.cols(), is_turned ? " At" : "",
                         product.transpose_b == ops::Transpose::yes ? " Bt" : ""),
                  product.a.dtype(), pass);
    row.times = time(bodies)[0];
    row.rate = 2e-6 * static_cast<double>(product.c.rows() * product.c.cols()) * static_cast<double>(depth) /
               row.times.best_ms;
    row.error = product_error(product);
    row.tolerance = 1e-5;
    return row;
}

void DeviceBench::large_product(DType dtype) {
    const index_t side = sizes_.side;
    const Tensor a = random_values(context_, dtype, {side, side}, 1);
    const Tensor b = random_values(context_, dtype, {side, side}, 2);
    Tensor c(context_.device, DType::f32, {side, side});
    const BenchRow row = product("product, the limit", {.a = a, .b = b, .c = c});
    peak_ = 1e6 * row.rate;
    report_.row(row);
}

void DeviceBench::products(DType dtype) {
    using enum ops::Transpose;
    const auto [tokens, hidden, width] =
        std::tuple{sizes_.layer.tokens, sizes_.layer.hidden, sizes_.layer.width};
    const auto measure = [&](Shape a_sides, ops::Transpose turned_a, Shape b_sides, ops::Transpose turned_b) {
        const Tensor a = random_values(context_, dtype, a_sides, 1);
        const Tensor b = random_values(context_, dtype, b_sides, 2);
        Tensor c(context_.device, DType::f32,
                 {a_sides[turned_a == yes ? 1 : 0], b_sides[turned_b == yes ? 0 : 1]});
        BenchRow row = product("product", {a, turned_a, b, turned_b, c});
        row.share = 1e6 * row.rate / peak_;
        report_.row(row);
    };
    measure({16, hidden}, no, {hidden, width}, no);
    measure({64, hidden}, no, {hidden, width}, no);
    measure({tokens, hidden}, no, {hidden, width}, no);
    measure({tokens, hidden}, no, {width, hidden}, yes);
    measure({tokens, width}, no, {width, hidden}, no);
    measure({tokens, hidden}, yes, {tokens, width}, no);
}

/// The feed-forward of all experts beside three products of as many rows, each with one matrix; its activation and the
/// rounding before it are included.
void DeviceBench::experts(DType dtype) {
    const LayerShape& shape = sizes_.layer;
    const index_t num_slots = shape.tokens * shape.top_k;
    const auto random = [&](index_t rows, index_t cols, std::uint64_t stream) {
        return random_values(context_, dtype, {rows, cols}, stream,
                             1.0F / std::sqrt(static_cast<float>(rows)));
    };
    const Tensor x = random_values(context_, dtype, {num_slots, shape.hidden}, 1);
    const Tensor gate = random(shape.experts * shape.hidden, shape.width, 2);
    const Tensor up = random(shape.experts * shape.hidden, shape.width, 3);
    const Tensor down = random(shape.experts * shape.width, shape.hidden, 4);
    const Tensor h = random_values(context_, dtype, {num_slots, shape.width}, 5);
    Tensor out(context_.device, DType::f32, {num_slots, shape.hidden});
    Tensor inner(context_.device, DType::f32, {num_slots, shape.width});
    std::vector<index_t> offsets;
    for (index_t expert = 0; expert <= shape.experts; ++expert)
        offsets.push_back(expert * num_slots / shape.experts);
    const ConstTensorRef one_up = up.ref().rows_of({0, shape.hidden}),
                         one_down = down.ref().rows_of({0, shape.width});
    const std::function<void()> bodies[] = {done([&] {
                                                ops::expert_ffn(x, {.gate = gate, .up = up, .down = down},
                                                                {offsets, {}, {}, {}}, {}, out, context_);
                                            }),
                                            done([&] {
                                                for (int i = 0; i < 2; ++i)
                                                    ops::multiply({.a = x, .b = one_up, .c = inner},
                                                                  context_);
                                                ops::multiply({.a = h, .b = one_down, .c = out}, context_);
                                            })};
    const std::vector<Times> times = time(bodies);
    BenchRow row = this->row(concat(shape.experts, " experts of ", shape.hidden, " x ", shape.width), dtype,
                             "grouped products");
    row.times = times[0];
    row.rate = 6e-6 * static_cast<double>(num_slots * shape.hidden) * static_cast<double>(shape.width) /
               row.times.best_ms;
    row.share = times[1].best_ms / times[0].best_ms;
    bodies[0]();
    const auto part = [&](const Tensor& matrices, index_t rows) {
        return read_doubles(matrices.ref().rows_of({(shape.experts - 1) * rows, shape.experts * rows}),
                            context_);
    };
    const DoubleExpert last{part(gate, shape.hidden), part(up, shape.hidden), part(down, shape.width)};
    const std::vector<double> expected = last.output(row_of(x, num_slots - 1));
    row.error = largest_difference(row_of(out, num_slots - 1), expected) / largest_magnitude(expected);
    row.tolerance = dtype == DType::f32 ? 1e-5 : 3e-2;
    report_.row(row);
    report_.note(concat("    ", static_cast<int>(100e6 * row.rate / peak_),
                        " % of the large product; as many rows with one matrix ", times[1].best_ms, " ms"));
}

/// Forward, and forward and backward, beside the products alone: those of each expert's rows, three forward and six backward.
void DeviceBench::layer(DType dtype, comm::Communicator& world) {
    BenchLayer layer(context_, world, sizes_.layer, dtype);
    layer.run(model::Tape::Mode::forward_only);
    const LayerShape& shape = sizes_.layer;
    struct Group {
        Tensor x, h, matrix, y, inner, gradient;
    };
    std::vector<Group> groups;
    const auto add = [&](index_t rows, index_t width) {
        if (rows == 0) return;
        const auto random = [&](index_t r, index_t c) { return random_values(context_, dtype, {r, c}, 1); };
        const auto fresh = [&](index_t r, index_t c) { return Tensor(context_.device, DType::f32, {r, c}); };
        groups.push_back({random(rows, shape.hidden), random(rows, width), random(shape.hidden, width),
                          fresh(rows, shape.hidden), fresh(rows, width), fresh(shape.hidden, width)});
    };
    for (const index_t rows : layer.load()) add(rows, shape.width);
    if (shape.shared > 0) add(shape.tokens, shape.shared * shape.width);
    const auto multiply = [&](int to_inner, int to_y, int to_gradient) {
        using enum ops::Transpose;
        for (Group& group : groups) {
            for (int i = 0; i < to_inner; ++i)
                ops::multiply({group.x, no, group.matrix, no, group.inner}, context_);
            for (int i = 0; i < to_y; ++i) ops::multiply({group.h, no, group.matrix, yes, group.y}, context_);
            for (int i = 0; i < to_gradient; ++i)
                ops::multiply({group.x, yes, group.h, no, group.gradient, Write::add}, context_);
        }
    };
    const std::function<void()> bodies[] = {
        done([&] { layer.run(model::Tape::Mode::forward_only); }), done([&] { multiply(2, 1, 0); }),
        done([&] { layer.run(model::Tape::Mode::record); }), done([&] { multiply(3, 3, 3); })};
    const std::vector<Times> times = time(bodies);
    const auto finish = [&](const char* pass, double flops, const Times& taken, const Times& products,
                            double error) {
        BenchRow row = this->row(shape.name, dtype, pass);
        row.times = taken;
        row.rate = 1e-6 * flops / taken.best_ms;
        row.share = products.best_ms / taken.best_ms;
        row.error = error;
        // Wide enough for small models, whose few terms average less of the rounding.
        row.tolerance = dtype == DType::f32 ? 1e-4 : 6e-2;
        report_.row(row);
        report_.note(concat("    ", static_cast<int>(100e6 * row.rate / peak_),
                            " % of the large product; products alone ", products.best_ms, " ms"));
    };
    finish("layer forward", shape.forward_flops(), times[0], times[1], layer.forward_error());
    finish("layer forward, backward", 3.0 * shape.forward_flops(), times[2], times[3],
           layer.backward_error());
}

}  // namespace

void device(const BenchOptions& options, Report& report) {
    const Sizes sizes = sizes_of(options);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        RankDevice own(options.config.parallel.device, options.threads, world,
                       comm::discover_topology(world));
        const LayerShape& shape = sizes.layer;
        report.note(concat(own.text(), "; ", shape.tokens, " tokens of width ", shape.hidden, ", top ",
                           shape.top_k, " of ", shape.experts, " experts of width ", shape.width, ", ",
                           shape.shared, " shared"));
        DeviceBench bench(options, sizes, own.device(), report);
        if (options.what == "device") bench.copying();
        if (options.what == "device") bench.rows();
        for (const DType dtype : {DType::f32, DType::bf16}) {
            bench.set_numerics(NumericsMode::fast);
            bench.large_product(dtype);
            if (options.what == "device") {
                bench.experts(dtype);
                bench.layer(dtype, world);
                continue;
            }
            for (const NumericsMode numerics : {NumericsMode::fast, NumericsMode::reproducible}) {
                bench.set_numerics(numerics);
                if (options.what == "gemm") bench.products(dtype);
                if (options.what == "layer") bench.layer(dtype, world);
            }
        }
        const std::string products = own.products_note();
        if (!products.empty()) report.note("products by " + products);
    });
}

}  // namespace sy::runtime::bench
