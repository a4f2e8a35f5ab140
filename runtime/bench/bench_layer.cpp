#include "runtime/bench/bench_layer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "comm/topology/topology.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/core/philox.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "runtime/bench/bench.hpp"

namespace sy::runtime::bench {
namespace {

model::ModelConfig model_config(const LayerShape& shape, DType dtype) {
    model::ModelConfig config;
    config.hidden = shape.hidden;
    config.seq_len = shape.sequence;
    config.dtype = dtype;
    return config;
}

model::MoeConfig moe_config(const LayerShape& shape) {
    model::MoeConfig moe;
    moe.experts = shape.experts;
    moe.top_k = shape.top_k;
    moe.shared_experts = shape.shared;
    moe.expert_width = shape.width;
    moe.balance = {.switch_loss = 0.0, .z_loss = 0.0};
    return moe;
}

/// x W, of a matrix with as many rows as x has values.
std::vector<double> times(const std::vector<double>& x, const std::vector<double>& weight) {
    std::vector<double> y(weight.size() / x.size(), 0.0);
    for (std::size_t i = 0; i < x.size(); ++i) {
        for (std::size_t j = 0; j < y.size(); ++j) y[j] += x[i] * weight[i * y.size() + j];
    }
    return y;
}

}  // namespace

std::vector<double> read_doubles(ConstTensorRef values, const Context& context) {
    const HostValues read(HostRead::snapshot, {values}, context);
    std::vector<double> doubles;
    dispatch_dtype(values.dtype(), [&]<class T>() {
        const MatrixView<const T> rows = host<const T>(read[0]);
        for (index_t row = 0; row < rows.rows; ++row) {
            for (const T value : rows.row_span(row))
                doubles.push_back(static_cast<double>(static_cast<float>(value)));
        }
    });
    return doubles;
}

std::vector<double> DoubleExpert::output(const std::vector<double>& x) const {
    std::vector<double> h = times(x, gate);
    const std::vector<double> factors = times(x, up);
    for (std::size_t i = 0; i < h.size(); ++i) h[i] = h[i] / (1.0 + std::exp(-h[i])) * factors[i];
    return times(h, down);
}

double LayerShape::forward_flops() const {
    return 2.0 * static_cast<double>(tokens * hidden) *
           static_cast<double>(3 * width * (top_k + shared) + experts);
}

BenchLayer::BenchLayer(const Context& context, comm::Communicator& world, const LayerShape& shape,
                       DType dtype)
    : shape_(shape),
      context_(context),
      config_(model_config(shape, dtype)),
      moe_(moe_config(shape)),
      exchange_(
          comm::make_exchange(comm::ExchangeKind::flat, world, comm::discover_topology(world), context)),
      ranks_{world, *exchange_},
      parameters_(model::mixture_blueprint(config_, moe_), comm::block_placements({true}, moe_.experts, 1), 0,
                  dtype, context),
      shared_{config_, parameters_, [](model::ParameterId) {}},
      layer_(shared_, moe_, ranks_, model::kFirstMixture),
      input_(random_values(context, DType::f32, {shape.tokens, shape.hidden}, 3)),
      output_(context.device, DType::f32, input_.shape()),
      gradient_(context.device, DType::f32, input_.shape()) {
    parameters_.allocate(1);
}

void BenchLayer::run(model::Tape::Mode mode) {
    model::Tape tape(mode, context_);
    model::Value& x = tape.value(shape_.tokens, shape_.hidden);
    ops::copy(input_, x.data, context_);
    tape.record([&] { gradient_ = std::move(x.grad); });
    model::MoeStatistics statistics;
    model::Value& y = layer_.forward(
        tape, x, {{0, shape_.tokens, 1, 0, 1}, model::Use::train, 1, shape_.sequence, {}, {}}, &statistics);
    load_ = statistics.load;
    if (!tape.recording()) {
        output_ = std::move(y.data);
        return;
    }
    y.grad = Tensor(context_.device, DType::f32, input_.shape());
    ops::copy(input_, y.grad, context_);
    tape.backward();
}

std::vector<double> BenchLayer::row_of(ConstTensorRef values, index_t row) const {
    return read_doubles(values.rows_of({row, row + 1}), context_);
}

/// Part of a parameter, from its element `first` on.
std::vector<double> BenchLayer::weights(const std::string& name, index_t first, index_t count) const {
    const auto& specs = parameters_.specs();
    for (std::size_t id = 0; id < specs.size(); ++id) {
        if (specs[id].name != concat("layers.0.moe.", name)) continue;
        const model::FlatGroup& flat = parameters_.group(specs[id].sharding);
        const index_t matrix = parameters_.matrices_of(static_cast<index_t>(id)).begin;
        const index_t begin = flat.matrices[matrix].place.offset + first;
        return read_doubles(flat.weights.ref().cols_of({begin, begin + count}), context_);
    }
    throw LogicError(concat("bench layer: no parameter ", name));
}

DoubleExpert BenchLayer::expert(const std::string& prefix, index_t width, index_t expert_idx) const {
    const index_t count = shape_.hidden * width;
    const auto matrix = [&](const char* name) { return weights(prefix + name, expert_idx * count, count); };
    return {matrix("gate"), matrix("up"), matrix("down")};
}

/// The layer for a single token once more in double, from its weights.
std::vector<double> BenchLayer::reference(const std::vector<double>& x) const {
    std::vector<double> scores = times(x, weights("router", 0, shape_.hidden * shape_.experts));
    for (double& score : scores) score = std::exp(score);
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    order.resize(static_cast<std::size_t>(shape_.top_k));
    double total = 0.0;
    for (const std::size_t idx : order) total += scores[idx];
    std::vector<double> y(x.size(), 0.0);
    const auto add = [&](const DoubleExpert& of_token, double weight) {
        const std::vector<double> output = of_token.output(x);
        for (std::size_t i = 0; i < y.size(); ++i) y[i] += weight * output[i];
    };
    for (const std::size_t idx : order)
        add(expert("experts.", shape_.width, static_cast<index_t>(idx)), scores[idx] / total);
    if (shape_.shared > 0) add(expert("shared.", shape_.shared * shape_.width, 0), 1.0);
    return y;
}

double BenchLayer::forward_error() const {
    double error = 0.0;
    double scale = 0.0;
    for (const index_t t : sampled()) {
        const std::vector<double> expected = reference(row_of(input_, t));
        const std::vector<double> got = row_of(output_, t);
        for (std::size_t i = 0; i < got.size(); ++i) {
            error = std::max(error, std::fabs(got[i] - expected[i]));
            scale = std::max(scale, std::fabs(expected[i]));
        }
    }
    return error / scale;
}

double BenchLayer::backward_error() const {
    double error = 0.0;
    double scale = 0.0;
    for (const index_t t : sampled()) {
        const std::vector<double> x = row_of(input_, t);
        const std::vector<double> dx = row_of(gradient_, t);
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
        const std::vector<double> high = reference(above);
        const std::vector<double> low = reference(below);
        double expected = 0.0;
        for (std::size_t i = 0; i < x.size(); ++i) expected += x[i] * (high[i] - low[i]) / (2.0 * kStep);
        error = std::max(error, std::fabs(got - expected));
        scale = std::max(scale, std::fabs(expected));
    }
    return error / scale;
}

}  // namespace sy::runtime::bench
