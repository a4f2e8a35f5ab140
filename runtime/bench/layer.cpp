// A whole mixture layer on one rank (router, capacity, plan, exchange with itself, experts, combine) against its matrix
// products alone.

#include "comm/local/local_fabric.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/core/peak.hpp"
#include "runtime/bench/bench.hpp"
#include "runtime/bench/bench_layer.hpp"

namespace sy::runtime::bench {
namespace {

struct TaskAxis;

constexpr LayerShape kCoarse{"coarse", 8, 2, 0, 1408};
constexpr LayerShape kFine{"fine", 64, 6, 2, 352};

/// The same products as the layer's, on operands that lie ready: rows by expert, three products forward; backward two
/// for each of them.
template <class In>
class ProductsAlone {
  public:
    ProductsAlone(Machine& machine, const LayerShape& shape, std::span<const index_t> load)
        : machine_(machine), hidden_(shape.hidden) {
        for (const index_t rows : load) add(machine, rows, shape.width);
        if (shape.shared > 0) add(machine, shape.tokens, shape.shared * shape.width);
    }

    void forward() {
        const auto product = [&](MatrixView<const In> a, MatrixView<const In> b, MatrixView<float> c) {
            ops::multiply_on_this_thread<In>({a, ops::Transpose::no, b, ops::Transpose::no, c},
                                             machine_.context);
        };
        for_blocks([&](Expert& expert, Range rows) {
            product(expert.x.template matrix<In>().rows_of(rows), expert.up.template matrix<In>(),
                    expert.h.template matrix<float>().rows_of(rows));
            product(expert.x.template matrix<In>().rows_of(rows), expert.up.template matrix<In>(),
                    expert.h.template matrix<float>().rows_of(rows));
            product(expert.dh.template matrix<In>().rows_of(rows), expert.down.template matrix<In>(),
                    expert.y.template matrix<float>().rows_of(rows));
        });
    }

    void backward() {
        const auto product = [&](MatrixView<const In> a, MatrixView<const In> b, MatrixView<float> c) {
            ops::multiply_on_this_thread<In>({a, ops::Transpose::no, b, ops::Transpose::yes, c},
                                             machine_.context);
        };
        for_blocks([&](Expert& expert, Range rows) {
            product(expert.x.template matrix<In>().rows_of(rows), expert.down.template matrix<In>(),
                    expert.h.template matrix<float>().rows_of(rows));
            for (int i = 0; i < 2; ++i) {
                product(expert.dh.template matrix<In>().rows_of(rows), expert.up.template matrix<In>(),
                        expert.y.template matrix<float>().rows_of(rows));
            }
        });
        for (Expert& expert : experts_) {
            for (int i = 0; i < 2; ++i) gradient(expert.x, expert.dh, expert.up_gradient);
            gradient(expert.dh, expert.x, expert.down_gradient);
        }
    }

  private:
    struct Expert {
        Tensor x, dh, h, y, up, down, up_gradient, down_gradient;
    };

    void add(Machine& machine, index_t rows, index_t width) {
        const auto fresh = [&](index_t r, index_t c) { return Tensor(machine.device, DType::f32, {r, c}); };
        if (rows == 0) return;
        experts_.push_back({machine.random<In>({rows, hidden_}, 1), machine.random<In>({rows, width}, 2),
                            fresh(rows, width), fresh(rows, hidden_), machine.random<In>({hidden_, width}, 3),
                            machine.random<In>({width, hidden_}, 4), fresh(hidden_, width),
                            fresh(width, hidden_)});
    }

    template <class Body>
    void for_blocks(const Body& body) {
        constexpr index_t kRows = 192;
        Indexed<TaskAxis, std::pair<Expert*, Range>> tasks;
        for (Expert& expert : experts_) {
            const index_t rows = expert.x.shape()[0];
            for (index_t part = 0; part < ceil_div(rows, kRows); ++part)
                tasks.emplace_back(&expert, part_of(rows, ceil_div(rows, kRows), part));
        }
        machine_.device.team().for_tasks(
            tasks.size(), [&](index_t task, int) { body(*tasks[task].first, tasks[task].second); });
    }

    void gradient(const Tensor& left, const Tensor& right, Tensor& out) {
        ops::multiply({left, ops::Transpose::yes, right, ops::Transpose::no, out}, machine_.context);
    }

    Machine& machine_;
    index_t hidden_;
    std::vector<Expert> experts_;
};

template <class In>
void measure(const LayerShape& shape, NumericsMode numerics, const BenchOptions& options, Report& report) {
    Machine machine(options.threads, numerics);
    const double peak = measure_peak_gflops(machine.device.team(), dtype_of<In>::value);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        BenchLayer layer(machine.context, world, shape, dtype_of<In>::value);
        layer.run(model::Tape::Mode::forward_only);
        ProductsAlone<In> products(machine, shape, layer.load());
        BenchRow row;
        row.what = "layer";
        row.shape = shape.name;
        row.dtype = dtype_name(dtype_of<In>::value);
        row.mode = mode_name(numerics);
        row.threads = options.threads;
        row.tolerance = std::is_same_v<In, float> ? 1e-4 : 3e-2;
        const std::function<void()> bodies[] = {
            [&] { layer.run(model::Tape::Mode::forward_only); }, [&] { products.forward(); },
            [&] { layer.run(model::Tape::Mode::record); }, [&] { products.backward(); }};
        const std::vector<Times> times = time_in_turns(options, bodies);
        const auto finish = [&](const char* pass, double flops, double products_ms) {
            row.pass = pass;
            row.rate = 1e-6 * flops / row.times.best_ms;
            row.share = products_ms / row.times.best_ms;
            report.row(row);
            report.note(concat("    ", static_cast<int>(100.0 * row.rate / peak),
                               " % of the register peak; products alone ", products_ms, " ms"));
        };
        row.times = times[0];
        row.error = layer.forward_error();
        finish("forward", shape.forward_flops(), times[1].best_ms);
        row.times = times[2];
        row.error = layer.backward_error();
        finish("forward_backward", 3.0 * shape.forward_flops(), times[1].best_ms + times[3].best_ms);
    });
}

}  // namespace

void layer(const BenchOptions& options, Report& report) {
    report.note(
        concat(kCoarse.tokens, " tokens of width ", kCoarse.hidden, ", ", options.threads,
               " threads; coarse: 8 experts, top 2, width 1408; fine: 64 experts, top 6, 2 shared, width "
               "352"));
    for (const NumericsMode numerics : {NumericsMode::fast, NumericsMode::reproducible}) {
        for (const LayerShape& shape : {kCoarse, kFine}) {
            measure<float>(shape, numerics, options, report);
            measure<bf16>(shape, numerics, options, report);
        }
    }
}

}  // namespace sy::runtime::bench
