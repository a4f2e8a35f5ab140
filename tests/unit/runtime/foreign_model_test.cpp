#include "runtime/interchange/foreign_model.hpp"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "runtime/interchange/model_builder.hpp"

using namespace sy;
using namespace sy::runtime;

namespace {

using Change = RotaryOrder::Change;

const std::map<std::string, Shape> kOurs{
    {"embedding", {5, 4}}, {"query", {4, 16}}, {"gain", {4}}, {"experts", {3, 4, 2}}};
const std::map<std::string, index_t> kRouters{{"layers.0.moe", 3}};

/// A description in which every value of kOurs is once.
ForeignModel whole_model() {
    ModelBuilder builder(kOurs);
    builder.same("embed", "embedding");
    builder.transposed("q", "query").order = {Change::halves_to_pairs, 8, 2, 4};
    builder.same("norm", "gain").addend = -1.0F;
    builder.transposed_experts("experts", "experts");
    builder.router_state("bias", "layers.0.moe", 3);
    builder.constant("zeros", {2, 7}, 0.0F);
    return builder.take();
}

/// The one problem of a description.
std::string only_problem(const ForeignModel& model) {
    const std::vector<std::string> problems = layout_problems(model, kOurs, kRouters);
    REQUIRE(problems.size() == 1);
    return problems[0];
}

std::vector<float> numbers(index_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    std::iota(values.begin(), values.end(), 1.0F);
    return values;
}

}  // namespace

TEST_CASE("foreign model: one that holds every value once has no problem", "[unit]") {
    CHECK(layout_problems(whole_model(), kOurs, kRouters).empty());
}

TEST_CASE("foreign model: values that are missing on either side are counted", "[unit]") {
    ForeignModel model = whole_model();
    model.tensors[0].parts[0].cols.end = 3;
    CHECK(layout_problems(model, kOurs, kRouters) ==
          std::vector<std::string>{"embed [5, 4]: 5 of 20 values are in no part",
                                   "embedding[0] [5, 4]: 5 of 20 values are in no part"});
    model = whole_model();
    model.tensors.pop_back();
    model.tensors.pop_back();
    CHECK(only_problem(model) == "state of router layers.0.moe [1, 3]: 3 of 3 values are in no part");
}

TEST_CASE("foreign model: a value in two parts is refused", "[unit]") {
    ForeignModel model = whole_model();
    ForeignTensor again = model.tensors[2];
    again.name = "norm again";
    model.tensors.push_back(again);
    CHECK(only_problem(model) == "gain[0] [1, 4]: rows 0-1, columns 0-4 are there twice");
    model.tensors.back().parts[0].source = ForeignPart::Source::repeated;
    CHECK(layout_problems(model, kOurs, kRouters).empty());
}

TEST_CASE("foreign model: two experts at one place are refused", "[unit]") {
    ForeignModel model = whole_model();
    model.tensors[3].parts[1].foreign_row = 1;
    CHECK_THAT(only_problem(model), Catch::Contains("experts [6, 4]: rows 1-3, columns 0-4 are there twice"));
}

TEST_CASE("foreign model: blocks outside, unknown tensors and doubled names are refused", "[unit]") {
    ForeignModel model = whole_model();
    model.tensors[2].parts[0].foreign_col = 1;
    CHECK(only_problem(model) == "norm [1, 4]: rows 0-1, columns 1-5 do not lie in it");
    model = whole_model();
    model.tensors.back().name = "embed";
    CHECK(only_problem(model) == "embed is there twice");
    model = whole_model();
    model.tensors.back().parts[0].source = ForeignPart::Source::weight;
    model.tensors.back().parts[0].tensor = "nobody";
    CHECK(only_problem(model) == "there is no nobody[0]");
}

TEST_CASE("foreign model: a rotary order needs whole heads", "[unit]") {
    ForeignModel model = whole_model();
    model.tensors[1].parts[0].order.head_dim = 5;
    CHECK_THAT(only_problem(model), Catch::Contains("are no whole heads of 5"));
}

TEST_CASE("foreign model: rotary columns become pairs and back, the others stay", "[unit]") {
    const RotaryOrder order{Change::halves_to_pairs, 6, 1, 4};
    const std::vector<index_t> expected{0, 1, 3, 2, 4, 5, 6, 7, 9, 8, 10, 11};
    const RotaryOrder inverse{Change::pairs_to_halves, 6, 1, 4};
    for (index_t col = 0; col < 12; ++col) {
        CHECK(order.foreign_col(col) == expected[static_cast<std::size_t>(col)]);
        CHECK(inverse.foreign_col(order.foreign_col(col)) == col);
    }
}

TEST_CASE("foreign model: a block is put to its place and taken from it", "[unit]") {
    const auto orientation = GENERATE(Orientation::same, Orientation::transposed);
    const auto change = GENERATE(Change::none, Change::halves_to_pairs, Change::pairs_to_halves);
    const ForeignPart part{.tensor = "query",
                           .rows = {0, 70},
                           .cols = {8, 24},
                           .foreign_row = 2,
                           .foreign_col = 3,
                           .orientation = orientation,
                           .order = {change, 8, 2, 6},
                           .factor = 2.0F,
                           .addend = -1.0F};
    const std::vector<float> ours = numbers(part.num_values());
    const index_t rows = part.foreign_rows().end + 1;
    const index_t cols = part.foreign_cols().end + 1;
    std::vector<float> theirs(static_cast<std::size_t>(rows * cols), 0.0F);
    const MatrixView<float> place{theirs.data(), rows, cols};
    put_part(part, ours, place);
    const auto placed = [&](index_t row, index_t col) {
        return orientation == Orientation::transposed ? place(2 + col, 3 + row) : place(2 + row, 3 + col);
    };
    for (index_t row = 0; row < 70; ++row)
        for (index_t col = 0; col < 16; ++col)
            REQUIRE(placed(row, part.order.foreign_col(col)) ==
                    2.0F * ours[static_cast<std::size_t>(row * 16 + col)] - 1.0F);
    std::vector<float> back(ours.size());
    take_part(part, MatrixView<const float>{place}.rows_of(part.foreign_rows()), back);
    CHECK(back == ours);
}

TEST_CASE("foreign model: values that only change their place keep every bit, the sign of zero too",
          "[unit]") {
    const auto orientation = GENERATE(Orientation::same, Orientation::transposed);
    const auto change = GENERATE(Change::none, Change::halves_to_pairs);
    const ForeignPart part{.tensor = "query",
                           .rows = {0, 19},
                           .cols = {0, 40},
                           .orientation = orientation,
                           .order = {change, 8, 0, 8}};
    std::vector<float> ours = numbers(part.num_values());
    for (std::size_t i = 0; i < ours.size(); i += 3) ours[i] = i % 2 == 0 ? -0.0F : -1e-45F;
    std::vector<float> theirs(ours.size(), 1.0F);
    const MatrixView<float> place{theirs.data(), part.foreign_rows().size(), part.foreign_cols().size()};
    put_part(part, ours, place);
    std::vector<float> back(ours.size(), 1.0F);
    take_part(part, place, back);
    for (std::size_t i = 0; i < ours.size(); ++i)
        REQUIRE(std::bit_cast<std::uint32_t>(back[i]) == std::bit_cast<std::uint32_t>(ours[i]));
    CHECK(std::signbit(theirs[0]));
}
