// Rows that are rounded on their way to experts and back.
#include <catch2/catch.hpp>

#include <cmath>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/gradient.hpp"
#include "model/layers/layer_context.hpp"
#include "model/moe/moe_layer.hpp"
#include "model/moe/wire.hpp"
#include "tests/unit/model/layouts.hpp"

using namespace sy;
using namespace sy::model;

namespace {

MoeConfig all_mixtures(WireFormat wire) {
    MoeConfig moe = test::tiny_moe();
    moe.layers = "all";
    moe.wire = wire;
    return moe;
}

/// One mixture, forward and backward, for rows of which each format keeps every value.
struct OnePass {
    std::vector<float> y;
    std::vector<float> dx;
    std::vector<std::int64_t> gradients;  ///< of all parameters of the layer
};

constexpr index_t kTokens = 24;

/// Values m * 2^e of four significant bits below 1.75, with 1.75 in each row, so that the scale of fp8 is a power of two.
void fill(MatrixView<float> rows, std::uint64_t seed) {
    for (index_t t = 0; t < rows.rows; ++t) {
        for (index_t i = 0; i < rows.cols; ++i) {
            const float u =
                uniform({seed, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(t * rows.cols + i));
            const int draw = static_cast<int>(u * 64.0F);
            rows(t, i) =
                std::ldexp(static_cast<float>(8 + draw % 7), -3 - draw % 4) * (draw < 32 ? 1.0F : -1.0F);
        }
        rows(t, t % rows.cols) = 1.75F;
    }
}

OnePass one_pass(MoeConfig moe, WireFormat wire) {
    moe.wire = wire;
    OnePass pass;
    const ModelConfig config = test::tiny_model();
    comm::LocalFabric(1).run([&](comm::Communicator& world) {
        test::Rank rank(world, 1, NumericsMode::reproducible, config, moe);
        rank.parameters.zero_gradients();
        LayerContext shared{config, rank.parameters, [](ParameterId) {}};
        const LayerKey key{StackId::main, 1, Part::mixture};
        const MoeLayer layer(shared, moe, rank.world, key);
        Tape tape(Tape::Mode::record, rank.session.context);
        Value x;
        x.data = Tensor(rank.session.context.device, DType::f32, {kTokens, config.hidden});
        fill(x.data.matrix<float>(), 11);
        PassInfo info;
        info.seq_len = config.seq_len;
        info.batch.global_tokens = kTokens;
        MoeStatistics statistics;
        Value& y = layer.forward(tape, x, info, &statistics);
        const auto out = y.data.values<float>();
        pass.y.assign(out.begin(), out.end());
        Tensor dy(rank.session.context.device, DType::f32, {kTokens, config.hidden});
        fill(dy.matrix<float>(), 12);
        y.add_gradient(std::move(dy), rank.session.context);
        tape.backward();
        const auto dx = x.grad.values<float>();
        pass.dx.assign(dx.begin(), dx.end());
        for (ParameterId id = 0; id < static_cast<ParameterId>(rank.parameters.specs().size()); ++id) {
            for (index_t l = 0; l < rank.parameters.num_local(id); ++l) {
                const GradientView gradient = host_gradient(rank.parameters.gradient(id, l));
                pass.gradients.insert(pass.gradients.end(), gradient.fixed,
                                      gradient.fixed + gradient.rows * gradient.cols);
            }
        }
        CHECK(host_values<const std::uint8_t>(rank.parameters.overflow())[0] == 0);
        rank.groups.close();
    });
    return pass;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i)
        largest = std::max(largest, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    return largest;
}

}  // namespace

TEST_CASE("wire: rounded rows train to the same bits on every layout", "[unit]") {
    const auto wire = GENERATE(WireFormat::bf16, WireFormat::fp8);
    const auto dtype = GENERATE(DType::f32, DType::bf16);
    ModelConfig config = test::tiny_model();
    config.dtype = dtype;
    MoeConfig moe = all_mixtures(wire);
    moe.expert_dropout = dtype == DType::f32 ? 0.0 : 0.2;
    const test::History rounded = test::check_layouts({.config = config, .moe = moe, .steps = 4});
    moe.wire = WireFormat::f32;
    const test::History whole = test::train({}, {.config = config, .moe = moe, .steps = 4});
    CHECK(rounded.loss != whole.loss);
    CHECK(std::abs(rounded.loss.back() - whole.loss.back()) < 0.02 * whole.loss.back());
}

TEST_CASE("wire: gradients of gate and experts are those of the rows that arrive", "[unit]") {
    const auto wire = GENERATE(WireFormat::bf16, WireFormat::fp8);
    const index_t top_k = GENERATE(1, 2);
    MoeConfig moe = all_mixtures(wire);
    moe.top_k = top_k;
    moe.renormalise = false;
    moe.shared_experts = 0;
    // Rows lose nothing on their way, so only results do.
    const OnePass whole = one_pass(moe, WireFormat::f32);
    const OnePass rounded = one_pass(moe, wire);
    CHECK(rounded.gradients == whole.gradients);
    CHECK(std::ranges::any_of(whole.gradients, [](std::int64_t value) { return value != 0; }));
    CHECK(rounded.y != whole.y);
    CHECK(largest_difference(rounded.y, whole.y) < 0x1p-8 * 4.0);
    CHECK(rounded.dx != whole.dx);
    CHECK(largest_difference(rounded.dx, whole.dx) < 0x1p-8 * 4.0);
    if (top_k > 1) return;
    for (std::size_t i = 0; i < whole.y.size(); ++i)
        REQUIRE(rounded.y[i] == static_cast<float>(bf16(whole.y[i])));
}

TEST_CASE("wire: bytes of a value", "[unit]") {
    const auto bytes = [](WireFormat wire, DType dtype) {
        const WireBytes all = wire_bytes(wire, dtype);
        return std::vector{all.row, all.gradient, all.result};
    };
    CHECK(bytes(WireFormat::f32, DType::f32) == std::vector{4.0, 4.0, 4.0});
    CHECK(bytes(WireFormat::f32, DType::bf16) == std::vector{2.0, 2.0, 4.0});
    CHECK(bytes(WireFormat::bf16, DType::f32) == std::vector{2.0, 2.0, 2.0});
    CHECK(bytes(WireFormat::fp8, DType::f32) == std::vector{1.03125, 2.0, 2.0});
}
