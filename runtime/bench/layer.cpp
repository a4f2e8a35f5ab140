// A whole mixture layer on one rank (router, capacity, plan, exchange with itself, experts, combine) against its matrix
// products alone.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/core/peak.hpp"
#include "kernels/core/philox.hpp"
#include "model/moe/moe_layer.hpp"
#include "runtime/bench/bench.hpp"

namespace sy::runtime::bench {
namespace {

struct TaskAxis;

constexpr index_t kTokens = 4096;
constexpr index_t kHidden = 512;
constexpr index_t kSequence = 256;

struct LayerShape {
    const char* name;
    index_t experts, top_k, shared, width;
};
constexpr LayerShape kCoarse{"coarse", 8, 2, 0, 1408};
constexpr LayerShape kFine{"fine", 64, 6, 2, 352};

model::MoeConfig moe_config(const LayerShape& shape) {
    model::MoeConfig moe;
    moe.experts = shape.experts;
    moe.top_k = shape.top_k;
    moe.shared_experts = shape.shared;
    moe.expert_width = shape.width;
    return moe;
}

model::ModelConfig model_config(DType dtype) {
    model::ModelConfig config;
    config.hidden = kHidden;
    config.seq_len = kSequence;
    config.dtype = dtype;
    return config;
}

double forward_flops(const LayerShape& shape) {
    return 2.0 * kTokens * kHidden *
           static_cast<double>(3 * shape.width * (shape.top_k + shape.shared) + shape.experts);
}

/// The same products as the layer's, on operands that lie ready: rows by expert, three products forward; backward two
/// for each of them.
template <class In>
class ProductsAlone {
  public:
    ProductsAlone(Machine& machine, const LayerShape& shape, std::span<const index_t> load)
        : machine_(machine), width_(shape.width) {
        for (const index_t rows : load) add(machine, rows, shape.width);
        if (shape.shared > 0) add(machine, kTokens, shape.shared * shape.width);
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
        experts_.push_back({machine.random<In>({rows, kHidden}, 1), machine.random<In>({rows, width}, 2),
                            fresh(rows, width), fresh(rows, kHidden), machine.random<In>({kHidden, width}, 3),
                            machine.random<In>({width, kHidden}, 4), fresh(kHidden, width),
                            fresh(width, kHidden)});
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
    index_t width_;
    std::vector<Expert> experts_;
};

/// The layer, built as a model would build it.
struct Layer {
    Machine& machine;
    model::ModelConfig config;
    model::MoeConfig moe;
    std::unique_ptr<comm::Exchange> exchange;
    model::ModelWorld ranks;
    model::Parameters parameters;
    model::LayerContext shared;
    model::MoeLayer layer;
    Tensor input;
    Tensor output;
    Tensor gradient;
    std::vector<index_t> load;

    Layer(Machine& machine_, comm::Communicator& world, const LayerShape& shape, DType dtype)
        : machine(machine_),
          config(model_config(dtype)),
          moe(moe_config(shape)),
          exchange(comm::make_exchange(comm::ExchangeKind::flat, world, comm::discover_topology(world),
                                       machine.context)),
          ranks{world, *exchange},
          parameters(model::mixture_blueprint(config, moe), comm::block_placements({true}, moe.experts, 1), 0,
                     dtype, machine.context),
          shared{config, parameters, [](model::ParameterId) {}},
          layer(shared, moe, ranks, model::kFirstMixture),
          input(machine.random<float>({kTokens, kHidden}, 3)),
          output(machine.device, DType::f32, {kTokens, kHidden}),
          gradient(machine.device, DType::f32, {kTokens, kHidden}) {
        parameters.allocate(1);
    }

    /// One pass; backward takes the input itself as the output's gradient.
    void run(model::Tape::Mode mode) {
        model::Tape tape(mode, machine.context);
        model::Value& x = tape.value(kTokens, kHidden);
        copy(input, x.data);
        tape.record([&] { gradient = std::move(x.grad); });
        model::MoeStatistics statistics;
        model::Value& y = layer.forward(
            tape, x, {{0, kTokens, 1, 0, 1}, model::Use::train, 1, kSequence, {}, {}}, &statistics);
        load = statistics.load;
        if (!tape.recording()) {
            output = std::move(y.data);
            return;
        }
        y.grad = Tensor(machine.device, DType::f32, {kTokens, kHidden});
        copy(input, y.grad);
        tape.backward();
    }

  private:
    void copy(const Tensor& from, Tensor& to) {
        const float* const source = from.values<float>().data();
        float* const target = to.values<float>().data();
        machine.device.team().for_ranges(kTokens * kHidden, 4096, [&](index_t begin, index_t end) {
            std::copy(source + begin, source + end, target + begin);
        });
    }
};

/// The layer for a single token once more in double, from its weights.
class Reference {
  public:
    explicit Reference(const Layer& layer) : layer_(layer) {}

    std::vector<double> output(const std::vector<double>& x) const {
        const auto num_experts = static_cast<std::size_t>(layer_.moe.experts);
        std::vector<double> scores = times(x, weights("layers.0.moe.router"), num_experts, 0);
        for (double& score : scores) score = std::exp(score);
        std::vector<std::size_t> order(num_experts);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
        order.resize(static_cast<std::size_t>(layer_.moe.top_k));
        double total = 0.0;
        for (const std::size_t expert : order) total += scores[expert];
        std::vector<double> y(x.size(), 0.0);
        const auto width = static_cast<std::size_t>(layer_.moe.expert_width);
        for (const std::size_t expert : order)
            feed_forward(x, "layers.0.moe.experts.", width, expert, scores[expert] / total, y);
        const auto shared = static_cast<std::size_t>(layer_.moe.shared_experts);
        if (shared > 0) feed_forward(x, "layers.0.moe.shared.", shared * width, 0, 1.0, y);
        return y;
    }

  private:
    std::span<const float> weights(const std::string& name) const {
        const auto& specs = layer_.parameters.specs();
        for (std::size_t id = 0; id < specs.size(); ++id) {
            if (specs[id].name != name) continue;
            const model::FlatGroup& flat = layer_.parameters.group(specs[id].sharding);
            const index_t matrix = layer_.parameters.matrices_of(static_cast<index_t>(id)).begin;
            const index_t first = flat.matrices[matrix].place.offset;
            return part(flat.weights.values<float>(), {first, first + specs[id].shape.num_elements()});
        }
        throw LogicError(concat("bench layer: no parameter ", name));
    }

    static std::vector<double> times(const std::vector<double>& x, std::span<const float> weight,
                                     std::size_t cols, std::size_t offset) {
        std::vector<double> y(cols, 0.0);
        for (std::size_t i = 0; i < x.size(); ++i) {
            for (std::size_t j = 0; j < cols; ++j)
                y[j] += x[i] * static_cast<double>(weight[offset + i * cols + j]);
        }
        return y;
    }

    void feed_forward(const std::vector<double>& x, const std::string& prefix, std::size_t width,
                      std::size_t expert, double factor, std::vector<double>& y) const {
        const std::size_t offset = expert * x.size() * width;
        std::vector<double> h = times(x, weights(prefix + "gate"), width, offset);
        const std::vector<double> up = times(x, weights(prefix + "up"), width, offset);
        for (std::size_t i = 0; i < width; ++i) h[i] = h[i] / (1.0 + std::exp(-h[i])) * up[i];
        const std::vector<double> out = times(h, weights(prefix + "down"), x.size(), offset);
        for (std::size_t i = 0; i < x.size(); ++i) y[i] += factor * out[i];
    }

    const Layer& layer_;
};

std::vector<double> row_of(const Tensor& x, index_t row) {
    const auto values = x.matrix<float>().row_span(row);
    return {values.begin(), values.end()};
}

constexpr index_t kSampled[] = {0, 1234, kTokens - 1};

/// Largest error of some tokens' outputs, over the largest output.
double forward_error(const Layer& layer) {
    double error = 0.0;
    double scale = 0.0;
    for (const index_t t : kSampled) {
        const std::vector<double> expected = Reference(layer).output(row_of(layer.input, t));
        const std::vector<double> got = row_of(layer.output, t);
        for (std::size_t i = 0; i < got.size(); ++i) {
            error = std::max(error, std::fabs(got[i] - expected[i]));
            scale = std::max(scale, std::fabs(expected[i]));
        }
    }
    return error / scale;
}

/// The input's gradient of some tokens along a random direction, against central differences of the reference. The
/// losses of the router are off, so that a token's gradient is its own.
double backward_error(const Layer& layer) {
    double error = 0.0;
    double scale = 0.0;
    for (const index_t t : kSampled) {
        const std::vector<double> x = row_of(layer.input, t);
        const std::vector<double> dx = row_of(layer.gradient, t);
        constexpr double kStep = 1e-4;
        std::vector<double> above = x;
        std::vector<double> below = x;
        double got = 0.0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            const auto direction = static_cast<double>(normal({9, 0, 0, RandomPurpose::test}, i));
            above[i] += kStep * direction;
            below[i] -= kStep * direction;
            got += dx[i] * direction;
        }
        const std::vector<double> high = Reference(layer).output(above);
        const std::vector<double> low = Reference(layer).output(below);
        double expected = 0.0;
        for (std::size_t i = 0; i < x.size(); ++i) expected += x[i] * (high[i] - low[i]) / (2.0 * kStep);
        error = std::max(error, std::fabs(got - expected));
        scale = std::max(scale, std::fabs(expected));
    }
    return error / scale;
}

template <class In>
void measure(const LayerShape& shape, NumericsMode numerics, const BenchOptions& options, Report& report) {
    Machine machine(options.threads, numerics);
    const double peak = measure_peak_gflops(machine.device.team(), dtype_of<In>::value);
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        Layer layer(machine, world, shape, dtype_of<In>::value);
        layer.moe.balance = {.switch_loss = 0.0, .z_loss = 0.0};
        layer.run(model::Tape::Mode::forward_only);
        ProductsAlone<In> products(machine, shape, layer.load);
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
        row.error = forward_error(layer);
        finish("forward", forward_flops(shape), times[1].best_ms);
        row.times = times[2];
        row.error = backward_error(layer);
        finish("forward_backward", 3.0 * forward_flops(shape), times[1].best_ms + times[3].best_ms);
    });
}

}  // namespace

void layer(const BenchOptions& options, Report& report) {
    report.note(
        concat(kTokens, " tokens of width ", kHidden, ", ", options.threads,
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
