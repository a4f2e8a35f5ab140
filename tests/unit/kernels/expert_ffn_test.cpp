#include "kernels/ops/expert_ffn/expert_ffn.hpp"
#include "kernels/ops/expert_ffn/host_operands.hpp"

#include <catch2/catch.hpp>

#include "kernels/ops/activation/activation.hpp"
#include "tests/unit/kernels/numeric.hpp"

using namespace sy;
using ops::Activation;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

namespace {

constexpr index_t kHidden = 20;
constexpr index_t kWidth = 13;

template <class In>
std::vector<In> numbers(index_t count, std::uint64_t stream, float deviation = 1.0F) {
    const TestMatrix from(1, count, stream, deviation);
    return {from.values.begin(), from.values.end()};
}

/// Experts, rows and slots; everything that the layer gets.
template <class In>
struct Problem {
    Activation kind;
    index_t experts;
    index_t rows;
    std::vector<In> x, dy, gate, up, down;
    std::vector<float> gate_bias, up_bias, down_bias;
    std::vector<index_t> offsets, blocks;
    std::vector<std::int32_t> row;
    std::vector<float> weight;

    Problem(Activation kind_, index_t experts_, index_t rows_)
        : kind(kind_),
          experts(experts_),
          rows(rows_),
          x(numbers<In>(rows * kHidden, 1)),
          dy(numbers<In>(rows * kHidden, 2)),
          gate(numbers<In>(ops::is_gated(kind) ? experts * kHidden * kWidth : 0, 3, 0.3F)),
          up(numbers<In>(experts * kHidden * kWidth, 4, 0.3F)),
          down(numbers<In>(experts * kWidth * kHidden, 5, 0.3F)) {}

    index_t num_slots() const { return offsets.back(); }
    MatrixView<const In> x_view() const { return {x.data(), rows, kHidden}; }
    MatrixView<const In> dy_view() const { return {dy.data(), rows, kHidden}; }
    ops::ExpertSlots slots() const { return {offsets, row, host_operand(std::span(weight)), blocks}; }
    ops::HostExpertWeights<In> host_weights() const {
        ops::HostExpertWeights<In> result{.gate = {},
                                          .up = {up.data(), experts, kHidden, kWidth},
                                          .down = {down.data(), experts, kWidth, kHidden},
                                          .activation = kind,
                                          .biases = {gate_bias, up_bias, down_bias}};
        if (ops::is_gated(kind)) result.gate = {gate.data(), experts, kHidden, kWidth};
        return result;
    }
    ops::ExpertWeights weights() const {
        const auto below_each_other = [](const TensorView3<const In>& all) {
            return MatrixView<const In>(all.data, all.count * all.rows, all.cols);
        };
        const ops::HostExpertWeights<In> views = host_weights();
        ops::ExpertWeights result{.gate = {},
                                  .up = below_each_other(views.up),
                                  .down = below_each_other(views.down),
                                  .activation = kind,
                                  .biases = {host_operand(views.biases.gate), host_operand(views.biases.up),
                                             host_operand(views.biases.down)}};
        if (ops::is_gated(kind)) result.gate = below_each_other(views.gate);
        return result;
    }
};

/// Three experts: expert 1 has no slot, expert 0 more than one task's worth.
template <class In>
Problem<In> mixture(Activation kind) {
    Problem<In> problem(kind, 3, 50);
    problem.offsets = {0, 200, 200, 231};
    problem.blocks = {0, 60, 200, 231};
    for (int s = 0; s < 231; ++s) problem.row.push_back(s * 7 % 50);
    problem.weight = numbers<float>(231, 6);
    return problem;
}

enum class Biased { no, yes };

template <class In>
Problem<In> dense(Activation kind, Biased biased, index_t rows = 210) {
    Problem<In> problem(kind, 1, rows);
    problem.offsets = {0, rows};
    for (index_t row = 0; row < rows; row += 30) problem.blocks.push_back(row);
    problem.blocks.push_back(rows);
    if (biased == Biased::yes) {
        problem.gate_bias = numbers<float>(ops::is_gated(kind) ? kWidth : 0, 7);
        problem.up_bias = numbers<float>(kWidth, 8);
        problem.down_bias = numbers<float>(kHidden, 9);
    }
    return problem;
}

/// Gradients of gate, up, down and of their biases, one after the other.
struct Gradients {
    std::vector<float> f32[6];
    std::vector<std::int64_t> fixed[6];
    std::vector<GradientRef> views[6];
    std::uint8_t overflow = 0;

    template <class In>
    Gradients(const Problem<In>& problem, NumericsMode numerics) {
        const index_t gate_experts = ops::is_gated(problem.kind) ? problem.experts : 0;
        add(0, numerics, gate_experts, kHidden, kWidth);
        add(1, numerics, problem.experts, kHidden, kWidth);
        add(2, numerics, problem.experts, kWidth, kHidden);
        add(3, numerics, problem.gate_bias.empty() ? 0 : 1, 1, kWidth);
        add(4, numerics, problem.up_bias.empty() ? 0 : 1, 1, kWidth);
        add(5, numerics, problem.down_bias.empty() ? 0 : 1, 1, kHidden);
    }
    Gradients(const Gradients&) = delete;
    Gradients& operator=(const Gradients&) = delete;

    ops::ExpertGradients all() const {
        const auto bias = [](const std::vector<GradientRef>& list) {
            return list.empty() ? GradientRef{} : list[0];
        };
        return {views[0], views[1], views[2], {bias(views[3]), bias(views[4]), bias(views[5])}};
    }
    /// As floats, from either representation.
    std::vector<float> values(int idx) const {
        std::vector<float> result = f32[idx];
        if (!fixed[idx].empty()) from_fixed_point(fixed[idx], result);
        return result;
    }

  private:
    void add(int idx, NumericsMode numerics, index_t count, index_t rows, index_t cols) {
        const bool whole = numerics == NumericsMode::reproducible;
        f32[idx].assign(static_cast<std::size_t>(count * rows * cols), 0.0F);
        if (whole) fixed[idx].assign(f32[idx].size(), 0);
        for (index_t e = 0; e < count; ++e) {
            const index_t first = e * rows * cols;
            views[idx].push_back(GradientView{whole ? nullptr : f32[idx].data() + first,
                                              whole ? fixed[idx].data() + first : nullptr, rows, cols,
                                              &overflow});
        }
    }
};

/// Forward and backward of a problem.
template <class In>
struct Run {
    TestMatrix out;
    TestMatrix dx;
    std::vector<float> dweight;
    bool gated;
    std::vector<In> saved_gate, saved_up;
    std::vector<std::vector<float>> when_ready;  ///< dx at each call of dx_ready

    explicit Run(const Problem<In>& problem)
        : out(problem.num_slots(), kHidden),
          dx(problem.num_slots(), kHidden),
          dweight(problem.weight.size()),
          gated(ops::is_gated(problem.kind)),
          saved_gate(gated ? room(problem) : 0),
          saved_up(room(problem)) {}
    static std::size_t room(const Problem<In>& problem) {
        return static_cast<std::size_t>(problem.num_slots() * kWidth);
    }
    ops::ExpertSaved saved() {
        ops::ExpertSaved result{{}, MatrixView<In>(saved_up.data(), out.rows, kWidth)};
        if (gated) result.gate = MatrixView<In>(saved_gate.data(), out.rows, kWidth);
        return result;
    }
    void apply(const Problem<In>& problem, const Gradients& gradients, TestSession& session) {
        ops::expert_ffn(problem.x_view(), problem.weights(), problem.slots(), saved(), out.view(),
                        session.context);
        const ops::ExpertSaved kept = saved();
        ops::expert_ffn_backward(problem.x_view(), problem.weights(), problem.slots(), {kept.gate, kept.up},
                                 {problem.dy_view(), dx.view(), host_operand(std::span<float>(dweight)),
                                  gradients.all(), [&] { when_ready.push_back(dx.values); }},
                                 session.context);
        // It was called once, when nothing of dx was missing any more.
        CHECK(when_ready == std::vector<std::vector<float>>{dx.values});
    }
    void reference(const Problem<In>& problem, const Gradients& gradients) {
        ops::ref::expert_ffn<In>(problem.x_view(), problem.host_weights(), problem.slots(), out.view());
        ops::ref::expert_ffn_backward<In>(problem.x_view(), problem.host_weights(), problem.slots(),
                                          {problem.dy_view(), dx.view(), dweight, gradients.all()});
    }
};

template <class In>
void check_against_reference(const Problem<In>& problem, int threads, NumericsMode numerics) {
    CAPTURE(ops::activation_name(problem.kind), threads);
    // Products of bf16 rows: h and the gradients of the projections are rounded on the way.
    const double tolerance = std::is_same_v<In, float> ? 1e-5 : 1.5e-2;
    TestSession session(threads, numerics);
    Run<In> got(problem);
    Run<In> wanted(problem);
    Gradients gradients(problem, numerics);
    Gradients expected(problem, NumericsMode::fast);
    got.apply(problem, gradients, session);
    wanted.reference(problem, expected);
    CHECK(relative_error(got.out.values, wanted.out.values) < tolerance);
    CHECK(relative_error(got.dx.values, wanted.dx.values) < tolerance);
    if (!problem.weight.empty()) CHECK(relative_error(got.dweight, wanted.dweight) < tolerance);
    for (int i = 0; i < 6; ++i) {
        CAPTURE(i);
        const std::vector<double> target = test::widened(expected.f32[i]);
        if (!target.empty()) CHECK(relative_error(gradients.values(i), target) < tolerance);
    }
    CHECK_FALSE(gradients.overflow);
    // Nothing kept: the same bits.
    TestMatrix alone(problem.num_slots(), kHidden);
    ops::expert_ffn(problem.x_view(), problem.weights(), problem.slots(), {}, alone.view(), session.context);
    CHECK(test::same_bits(alone.values, got.out.values));
}

}  // namespace

TEMPLATE_TEST_CASE("expert_ffn: a mixture agrees with the reference for every activation", "[unit]", float,
                   bf16) {
    const auto threads = GENERATE(1, 3);
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    for (const Activation kind : ops::kActivations)
        check_against_reference(mixture<TestType>(kind), threads, numerics);
}

TEMPLATE_TEST_CASE("expert_ffn: dense, with biases and without, agrees with the reference", "[unit]", float,
                   bf16) {
    const auto biased = GENERATE(Biased::no, Biased::yes);
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    for (const Activation kind : ops::kActivations)
        check_against_reference(dense<TestType>(kind, biased), 2, numerics);
}

TEST_CASE("expert_ffn: backward agrees with finite differences of inputs, weights and biases", "[unit]") {
    TestSession session;
    for (const Activation kind :
         {Activation::gelu, Activation::silu, Activation::geglu, Activation::swiglu}) {
        CAPTURE(ops::activation_name(kind));
        const Problem<float> problem = dense<float>(kind, Biased::yes, 4);
        const bool gated = ops::is_gated(kind);
        // x, gate, up, down and the biases as one vector.
        const std::vector<float>* const parts[] = {&problem.x,        &problem.gate,      &problem.up,
                                                   &problem.down,     &problem.gate_bias, &problem.up_bias,
                                                   &problem.down_bias};
        std::vector<double> all;
        std::vector<std::size_t> first;
        for (const std::vector<float>* part : parts) {
            first.push_back(all.size());
            all.insert(all.end(), part->begin(), part->end());
        }
        const auto loss = [&](const std::vector<double>& at) {
            const auto projection = [&](std::size_t t, std::size_t f, int weight, int bias) {
                double sum = at[first[static_cast<std::size_t>(bias)] + f];
                for (std::size_t i = 0; i < kHidden; ++i)
                    sum += at[t * kHidden + i] * at[first[static_cast<std::size_t>(weight)] + i * kWidth + f];
                return sum;
            };
            double total = 0.0;
            for (std::size_t t = 0; t < 4; ++t) {
                std::vector<double> out(at.begin() + static_cast<std::ptrdiff_t>(first[6]), at.end());
                for (std::size_t f = 0; f < kWidth; ++f) {
                    const double u = projection(t, f, 2, 5);
                    const double h = gated ? ops::ref::nonlinearity(kind, projection(t, f, 1, 4)) * u
                                           : ops::ref::nonlinearity(kind, u);
                    for (std::size_t i = 0; i < kHidden; ++i) out[i] += h * at[first[3] + f * kHidden + i];
                }
                for (std::size_t i = 0; i < kHidden; ++i)
                    total += out[i] * static_cast<double>(problem.dy[t * kHidden + i]);
            }
            return total;
        };
        Run<float> run(problem);
        const Gradients gradients(problem, NumericsMode::fast);
        run.apply(problem, gradients, session);
        std::vector<float> got = run.dx.values;
        for (const std::vector<float>& part : gradients.f32) got.insert(got.end(), part.begin(), part.end());
        CHECK(relative_error(got, test::numeric_gradient(all, loss)) < 3e-6);
    }
}

TEMPLATE_TEST_CASE("expert_ffn: reproducible gradients do not depend on how rows are dealt out", "[unit]",
                   float, bf16) {
    const auto biased = GENERATE(Biased::no, Biased::yes);
    for (const Activation kind : ops::kActivations) {
        CAPTURE(ops::activation_name(kind));
        const Problem<TestType> whole = dense<TestType>(kind, biased);
        TestSession one(1, NumericsMode::reproducible);
        Run<TestType> run(whole);
        const Gradients wanted(whole, NumericsMode::reproducible);
        run.apply(whole, wanted, one);
        // The rows in two parts, on more threads, into the same gradients.
        TestSession three(3, NumericsMode::reproducible);
        const Gradients got(whole, NumericsMode::reproducible);
        for (const Range part : {Range{90, 210}, Range{0, 90}}) {
            Problem<TestType> some = dense<TestType>(kind, biased, part.size());
            const auto take = [&](const std::vector<TestType>& from) {
                return std::vector<TestType>(from.begin() + part.begin * kHidden,
                                             from.begin() + part.end * kHidden);
            };
            some.x = take(whole.x);
            some.dy = take(whole.dy);
            Run<TestType> partial(some);
            partial.apply(some, got, three);
            CHECK(std::equal(partial.out.values.begin(), partial.out.values.end(),
                             run.out.values.begin() + part.begin * kHidden));
            CHECK(std::equal(partial.dx.values.begin(), partial.dx.values.end(),
                             run.dx.values.begin() + part.begin * kHidden));
        }
        for (int i = 0; i < 6; ++i) CHECK(got.fixed[i] == wanted.fixed[i]);
        CHECK_FALSE((got.overflow || wanted.overflow));
    }
}

TEST_CASE("expert_ffn: bias gradients in fast mode do not depend on threads", "[unit]") {
    for (const bool has_blocks : {false, true}) {
        Problem<float> problem = dense<float>(Activation::gelu, Biased::yes);
        if (!has_blocks) problem.blocks.clear();
        std::vector<float> sums[2];
        for (const int threads : {1, 3}) {
            TestSession session(threads);
            Run<float> run(problem);
            const Gradients gradients(problem, NumericsMode::fast);
            run.apply(problem, gradients, session);
            sums[threads / 2] = gradients.f32[4];
        }
        CHECK(test::same_bits(sums[0], sums[1]));
    }
}

TEST_CASE("expert_ffn: without slots nothing is computed", "[unit]") {
    TestSession session(2);
    for (const Activation kind : {Activation::gelu, Activation::swiglu}) {
        const Problem<float> problem = dense<float>(kind, Biased::yes, 0);
        Run<float> run(problem);
        const Gradients gradients(problem, NumericsMode::fast);
        run.apply(problem, gradients, session);
        for (const std::vector<float>& part : gradients.f32)
            CHECK(part == std::vector<float>(part.size(), 0.0F));
    }
}

TEST_CASE("expert_ffn: operands that do not fit are refused", "[unit]") {
    TestSession session;
    for (const Activation kind : {Activation::gelu, Activation::geglu}) {
        const bool gated = ops::is_gated(kind);
        const Problem<float> good = dense<float>(kind, Biased::yes);
        Run<float> run(good);
        const Gradients gradients(good, NumericsMode::fast);
        const auto forward = [&](const ops::ExpertWeights& weights, const ops::ExpertSlots& slots,
                                 const ops::ExpertSaved& saved) {
            ops::expert_ffn(good.x_view(), weights, slots, saved, run.out.view(), session.context);
        };
        const auto refused = [&](auto&& change) {
            ops::ExpertWeights weights = good.weights();
            ops::ExpertSlots slots = good.slots();
            ops::ExpertSaved saved = run.saved();
            change(weights, slots, saved);
            CHECK_THROWS_AS(forward(weights, slots, saved), ShapeError);
        };
        CHECK_NOTHROW(forward(good.weights(), good.slots(), run.saved()));
        refused([](auto& w, auto&, auto&) { w.up = w.up.cols_of({0, 12}); });
        refused([](auto& w, auto&, auto&) { w.down = w.down.rows_of({0, 12}); });
        refused([&](auto& w, auto&, auto&) { w.gate = gated ? ConstTensorRef() : w.up; });
        refused([](auto& w, auto&, auto&) { w.biases.up = w.biases.up.cols_of({0, 12}); });
        refused([](auto& w, auto&, auto&) { w.biases.down = {}; });
        refused([&](auto& w, auto&, auto&) { w.biases.gate = gated ? ConstTensorRef() : w.biases.up; });
        refused([](auto&, auto&, auto& saved) { saved.up = saved.up.rows_of({0, 3}); });
        refused([&](auto&, auto&, auto& saved) { saved.gate = gated ? TensorRef() : saved.up; });
        const std::vector<bf16> rounded(good.up.size());
        refused(
            [&](auto& w, auto&, auto&) { w.up = MatrixView<const bf16>(rounded.data(), kHidden, kWidth); });
        // Biases belong to what is dense.
        const std::vector<float> ones(static_cast<std::size_t>(good.rows), 1.0F);
        refused([&](auto&, auto& slots, auto&) { slots.weight = host_operand(std::span(ones)); });

        const auto backward = [&](const ops::ExpertGradients& into, const ops::ExpertSaved& saved) {
            ops::expert_ffn_backward(good.x_view(), good.weights(), good.slots(), {saved.gate, saved.up},
                                     {good.dy_view(), run.dx.view(), {}, into}, session.context);
        };
        const auto refused_back = [&](auto&& change) {
            ops::ExpertGradients into = gradients.all();
            ops::ExpertSaved saved = run.saved();
            change(into, saved);
            CHECK_THROWS_AS(backward(into, saved), ShapeError);
        };
        CHECK_NOTHROW(backward(gradients.all(), run.saved()));
        refused_back(
            [&](auto& into, auto&) { into.gate = gated ? std::span<const GradientRef>() : into.up; });
        refused_back([](auto& into, auto&) { into.biases.up = {}; });
        refused_back([](auto& into, auto&) { into.biases.down = into.biases.up; });
        refused_back([](auto& into, auto&) { into.down = into.up; });
        refused_back([](auto&, auto& saved) { saved.up = saved.up.cols_of({0, 12}); });
        refused_back([&](auto&, auto& saved) { saved.gate = gated ? TensorRef() : saved.up; });
    }
}

TEMPLATE_TEST_CASE("chosen_expert_ffn: each choice is its token through its expert, by its weight", "[unit]",
                   float, bf16) {
    const Activation kind = GENERATE(Activation::swiglu, Activation::relu);
    TestSession session(2);
    Problem<TestType> problem(kind, 3, 7);
    const std::vector<std::int32_t> expert{2, 0, 1, 2, -1, 2, 0, -1, 2, 1, -1, -1, 1, 0};
    const std::vector<float> weight = numbers<float>(14, 6);
    const ops::ChosenExperts chosen{MatrixView<const std::int32_t>(expert.data(), 7, 2),
                                    MatrixView<const float>(weight.data(), 7, 2)};
    TestMatrix out(14, kHidden, 7);
    ops::chosen_expert_ffn(problem.x_view(), problem.weights(), chosen, out.view(), session.context);
    for (std::int32_t choice = 0; choice < 14; ++choice) {
        INFO("choice " << choice);
        const std::span<const float> row = out.view().row_span(choice);
        const index_t number = expert[static_cast<std::size_t>(choice)];
        if (number < 0) {
            CHECK(std::ranges::all_of(row, [](float value) { return value == 0.0F; }));
            continue;
        }
        problem.offsets.assign(4, 0);
        for (index_t e = number; e < 3; ++e) problem.offsets[static_cast<std::size_t>(e) + 1] = 1;
        problem.row = {choice / 2};
        problem.weight = {weight[static_cast<std::size_t>(choice)]};
        TestMatrix reference(1, kHidden);
        ops::ref::expert_ffn(problem.x_view(), problem.host_weights(), problem.slots(), reference.view());
        const double tolerance = std::is_same_v<TestType, float> ? 1e-5 : 1e-2;
        CHECK(relative_error(std::vector(row.begin(), row.end()), reference.values) < tolerance);
    }
    CHECK_THROWS_WITH(ops::chosen_expert_ffn(problem.x_view(), problem.weights(), chosen,
                                             out.view().rows_of({0, 13}), session.context),
                      Catch::Contains("out [13, 20]"));
}
