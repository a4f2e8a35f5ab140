// Every operation against its reference in double, at sizes that are no multiples of a vector.
#include <catch2/catch.hpp>

#include "kernels/ops/attention/attention.hpp"
#include "kernels/ops/gate/gate.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/rotary/rotary.hpp"
#include "kernels/ops/softmax_xent/softmax_xent.hpp"
#include "tests/support/session.hpp"

using namespace sy;
using test::relative_error;
using test::TestMatrix;
using test::TestSession;

TEST_CASE("gradient: fixed-point sums do not depend on the order and round once", "[unit]") {
    const TestMatrix x(40, 6, 5, 1e-3F);
    std::vector<std::int64_t> forward(6, 0);
    std::vector<std::int64_t> backward(6, 0);
    std::uint8_t overflow = 0;
    for (index_t r = 0; r < 40; ++r) {
        accumulate(x.view().row_span(r), 0, {nullptr, forward.data(), 1, 6, &overflow});
        accumulate(x.view().row_span(39 - r), 0, {nullptr, backward.data(), 1, 6, &overflow});
    }
    CHECK(forward == backward);
    CHECK_FALSE(overflow);
    std::vector<float> sums(6);
    from_fixed_point(forward, sums);
    for (index_t c = 0; c < 6; ++c) {
        double expected = 0.0;
        for (index_t r = 0; r < 40; ++r) expected += static_cast<double>(x.view()(r, c));
        CHECK(static_cast<double>(sums[static_cast<std::size_t>(c)]) == Approx(expected).epsilon(1e-6));
    }
    const std::vector<float> bad{std::nanf("")};
    accumulate(bad, 0, {nullptr, forward.data(), 1, 6, &overflow});
    CHECK(overflow);
}

TEST_CASE("rotary: agrees with the reference and backward undoes forward", "[unit]") {
    TestSession session(2);
    TestMatrix x(19, 36, 1);
    const TestMatrix original = x;
    TestMatrix expected = x;
    std::vector<std::int32_t> position(19);
    for (std::size_t t = 0; t < 19; ++t) position[t] = static_cast<std::int32_t>(t * 3);
    const ops::RotaryTable table(64, {12, 10000.0});
    ops::rotary(x.view(), 12, position, table, ops::Direction::forward, session.context);
    ops::ref::rotary(expected.view(), 12, position, {12, 10000.0}, ops::Direction::forward);
    CHECK(relative_error(x.values, expected.values) < 1e-6);
    ops::rotary(x.view(), 12, position, table, ops::Direction::backward, session.context);
    CHECK(relative_error(x.values, original.values) < 1e-6);
}

TEST_CASE("softmax_xent: loss and gradient agree with the reference, and uncounted rows are silent",
          "[unit]") {
    TestSession session(2);
    TestMatrix logits(9, 77, 1, 10.0F);
    TestMatrix expected = logits;
    const std::vector<std::int32_t> target{0, 76, 3, -1, 5, 6, 7, 8, 9};
    std::vector<float> loss(9);
    std::vector<float> expected_loss(9);
    ops::softmax_xent(logits.view(), target, 0.25F, host_operand(std::span(loss)), session.context);
    ops::ref::softmax_xent(expected.view(), target, 0.25F, expected_loss);
    CHECK(relative_error(logits.values, expected.values) < 2e-6);
    CHECK(relative_error(loss, expected_loss) < 2e-6);
    CHECK(loss[3] == 0.0F);
    const std::vector<std::int32_t> wrong(9, 77);
    CHECK_THROWS_AS(
        ops::softmax_xent(logits.view(), wrong, 0.25F, host_operand(std::span(loss)), session.context),
        ShapeError);
}

TEST_CASE("gate: scores, choice and gradient agree with the reference; ties go to the lower expert",
          "[unit]") {
    TestSession session(2);
    const auto renormalise = GENERATE(ops::Renormalise::no, ops::Renormalise::yes);
    const TestMatrix logits(31, 21, 1);
    TestMatrix scores(31, 21);
    TestMatrix expected(31, 21);
    std::vector<float> lse(31);
    std::vector<float> expected_lse(31);
    ops::gate_scores(ops::Score::softmax, logits.view(), scores.view(), host_operand(std::span(lse)),
                     session.context);
    ops::ref::gate_scores(ops::Score::softmax, logits.view(), expected.view(), expected_lse);
    CHECK(relative_error(scores.values, expected.values) < 1e-6);
    CHECK(relative_error(lse, expected_lse) < 1e-6);
    std::vector<std::int32_t> chosen(31 * 4);
    std::vector<std::int32_t> expected_chosen(31 * 4);
    const MatrixView<std::int32_t> expert(chosen.data(), 31, 4);
    TestMatrix weight(31, 4);
    TestMatrix expected_weight(31, 4);
    const ops::GateWeights weights{scores.view(), expert, renormalise, 1.0F};
    ops::gate_top_k(scores.view(), expert, session.context);
    ops::gate_weights(weights, weight.view(), session.context);
    ops::ref::gate_top_k(scores.view(), {expected_chosen.data(), 31, 4});
    ops::ref::gate_weights(weights, expected_weight.view());
    CHECK(chosen == expected_chosen);
    CHECK(relative_error(weight.values, expected_weight.values) < 1e-6);
    const TestMatrix dweight(31, 4, 2);
    const TestMatrix dshare(1, 21, 3);
    const TestMatrix dlse(1, 31, 4);
    TestMatrix dlogits(31, 21);
    const ops::GateBackward in{.forward = weights,
                               .dweight = dweight.view(),
                               .dshare = dshare.values,
                               .dlse = host_operand(std::span(dlse.values))};
    ops::gate_backward(in, dlogits.view(), session.context);
    ops::ref::gate_backward(in, expected.view());
    CHECK(relative_error(dlogits.values, expected.values) < 1e-5);
    const TestMatrix flat(1, 21);
    ops::gate_top_k(flat.view(), MatrixView(chosen.data(), 1, 4), session.context);
    CHECK(std::vector<std::int32_t>(chosen.begin(), chosen.begin() + 4) ==
          std::vector<std::int32_t>{0, 1, 2, 3});
}

TEST_CASE("attention: forward, backward and decode agree with the reference", "[unit]") {
    const auto seq_len = GENERATE(1, 7, 64, 65, 130);
    const auto numerics = GENERATE(NumericsMode::fast, NumericsMode::reproducible);
    TestSession session(2, numerics);
    const ops::AttentionShape shape{2, seq_len, 4, 2, 10, 0.3F};
    const index_t rows = 2 * seq_len;
    const TestMatrix q(rows, 40, 1);
    const TestMatrix k(rows, 20, 2);
    const TestMatrix v(rows, 20, 3);
    const TestMatrix dout(rows, 40, 4);
    TestMatrix out(rows, 40);
    TestMatrix expected(rows, 40);
    TestMatrix lse(rows, 4);
    ops::attention(shape, q.view(), k.view(), v.view(), out.view(), lse.view(), session.context);
    ops::ref::attention(shape, q.view(), k.view(), v.view(), expected.view());
    CHECK(relative_error(out.values, expected.values) < 3e-6);
    TestMatrix got[3] = {{rows, 40}, {rows, 20}, {rows, 20}};
    TestMatrix wanted[3] = {{rows, 40}, {rows, 20}, {rows, 20}};
    ops::attention_backward(shape,
                            {q.view(), k.view(), v.view(), out.view(), lse.view(), dout.view(), got[0].view(),
                             got[1].view(), got[2].view()},
                            session.context);
    ops::ref::attention_backward(shape, {q.view(), k.view(), v.view(), out.view(), lse.view(), dout.view(),
                                         wanted[0].view(), wanted[1].view(), wanted[2].view()});
    for (int i = 0; i < 3; ++i) {
        if (seq_len > 1 || i == 2) CHECK(relative_error(got[i].values, wanted[i].values) < 1e-5);
    }
    const MatrixView<const float> last = q.view().rows_of({seq_len - 1, seq_len});
    const std::vector<index_t> lengths{seq_len};
    TestMatrix decoded(1, 40);
    const Range first{0, seq_len};
    ops::attention_decode(shape, last, k.view().rows_of(first), v.view().rows_of(first),
                          {std::vector<index_t>{0}, lengths, seq_len}, decoded.view(), session.context);
    const std::vector<float> row(expected.values.begin() + (seq_len - 1) * 40,
                                 expected.values.begin() + seq_len * 40);
    CHECK(relative_error(decoded.values, row) < 3e-6);
}

TEST_CASE("permute: sums of rows follow the lists, and rows without a source become zero", "[unit]") {
    TestSession session(2);
    const TestMatrix x(9, 35, 1);
    const std::vector<index_t> offsets{0, 3, 3, 5};
    const std::vector<std::int32_t> sources{8, 0, 4, 2, 2};
    TestMatrix out(3, 35, 9);
    TestMatrix expected(3, 35, 9);
    ops::sum_rows(x.view(), offsets, sources, Write::overwrite, out.view(), session.context);
    ops::ref::sum_rows(x.view(), offsets, sources, Write::overwrite, expected.view());
    CHECK(relative_error(out.values, expected.values) < 1e-6);
    for (const float value : out.view().row_span(1)) CHECK(value == 0.0F);
}
