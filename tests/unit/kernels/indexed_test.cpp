// Values numbered by index_t that know their axis.
#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <numeric>

#include "kernels/core/offsets.hpp"

using namespace sy;

namespace {

template <class To, class From>
constexpr bool kFits = std::is_assignable_v<To&, From> || std::is_convertible_v<From, To>;

// Must not compile: values of one axis for those of another, and constants for variables.
static_assert(!kFits<PerToken<int>, PerExpert<int>>);
static_assert(!kFits<PerToken<int>, PerExpert<int>&>);
static_assert(!kFits<PerTokenSpan<int>, PerExpert<int>&>);
static_assert(!kFits<PerTokenSpan<const int>, PerExpert<int>>);
static_assert(!kFits<PerTokenSpan<const int>, const PerExpert<int>&>);
static_assert(!kFits<PerTokenSpan<const int>, PerExpertSpan<int>>);
static_assert(!kFits<PerTokenSpan<const int>, PerExpertSpan<const int>&>);
static_assert(!kFits<PerTokenSpan<int>, PerTokenSpan<const int>>);
static_assert(!kFits<PerTokenSpan<int>, const PerToken<int>&>);
// A vector becomes one of an axis only by name, and so does a number a size.
static_assert(!kFits<PerToken<int>, std::vector<int>>);
static_assert(!kFits<PerToken<int>, index_t>);

// Must compile: the same axis, no axis, and an axis for what has none.
static_assert(kFits<PerTokenSpan<const int>, const PerToken<int>&>);
static_assert(kFits<PerTokenSpan<int>, PerToken<int>&>);
static_assert(kFits<PerTokenSpan<const int>, PerTokenSpan<int>>);
static_assert(kFits<PerTokenSpan<const int>, const std::vector<int>&>);
static_assert(kFits<PerTokenSpan<int>, std::span<int>>);
static_assert(kFits<std::span<const int>, const PerToken<int>&>);
static_assert(kFits<std::span<int>, PerTokenSpan<int>>);

}  // namespace

TEST_CASE("indexed: values are where a vector has them", "[unit]") {
    PerExpert<index_t> load(3, 7);
    load[2] = 9;
    load.push_back(11);
    CHECK(load.size() == 4);
    CHECK(load == PerExpert<index_t>{7, 7, 9, 11});
    CHECK(load.front() == 7);
    CHECK(load.back() == 11);
    CHECK(std::accumulate(load.begin(), load.end(), index_t{0}) == 34);
    load.resize(2);
    CHECK(load == PerExpert<index_t>(std::vector<index_t>{7, 7}));
    load.assign(1, 5);
    CHECK(load == PerExpert<index_t>{5});
    load.clear();
    CHECK(load.empty());
}

TEST_CASE("indexed: a span sees and changes the values it borrows", "[unit]") {
    PerToken<float> weight{1.0F, 2.0F, 3.0F, 4.0F};
    const PerTokenSpan<float> all = weight;
    const PerTokenSpan<float> part = all.part({1, 3});
    CHECK(part.size() == 2);
    CHECK(part.data() == weight.data() + 1);
    part[1] = 30.0F;
    CHECK(weight[2] == 30.0F);
    CHECK(part.front() == 2.0F);
    CHECK(part.back() == 30.0F);
    CHECK(all.part({4, 4}).empty());
    const std::span<const float> without_axis = weight;
    CHECK(without_axis.size() == 4);
    CHECK(std::ranges::equal(without_axis, all));
}

TEST_CASE("indexed: flags and values that can only be moved", "[unit]") {
    PerExpert<bool> taken(2, false);
    taken[1] = true;
    CHECK(std::ranges::count(taken, true) == 1);
    PerExpert<std::unique_ptr<int>> owners(1);
    owners.push_back(std::make_unique<int>(5));
    CHECK(owners[0] == nullptr);
    CHECK(*owners.back() == 5);
}

TEST_CASE("offsets: groups lie one after another", "[unit]") {
    Offsets<ExpertAxis> offsets;
    CHECK(offsets.num_groups() == 0);
    CHECK(offsets.total() == 0);
    CHECK(offsets.begins().empty());
    offsets = Offsets<ExpertAxis>::of_counts(PerExpert<index_t>{2, 0});
    offsets.append(3);
    CHECK(offsets == Offsets<ExpertAxis>({0, 2, 2, 5}));
    CHECK(offsets.num_groups() == 3);
    CHECK(offsets.total() == 5);
    CHECK(offsets[1] == Range{2, 2});
    CHECK(offsets[2] == Range{2, 5});
    CHECK(offsets.begins() == PerExpert<index_t>{0, 2, 2});
    CHECK(offsets.scaled(4) == std::vector<index_t>{0, 8, 8, 20});
    const std::vector<int> values{1, 2, 3, 4, 5};
    CHECK(std::ranges::equal(part<const int>(values, group_of(offsets, 2)), std::vector<int>{3, 4, 5}));
    CHECK_THROWS_AS(Offsets<ExpertAxis>({1, 2}), LogicError);
    CHECK_THROWS_AS(Offsets<ExpertAxis>({0, 2, 1}), LogicError);
    CHECK_THROWS_AS(Offsets<ExpertAxis>(std::vector<index_t>()), LogicError);
}

#ifndef NDEBUG
TEST_CASE("indexed: a position that is none is refused", "[unit]") {
    PerToken<int> values{1, 2};
    CHECK_THROWS_AS(values[2], LogicError);
    CHECK_THROWS_AS(values[-1], LogicError);
    CHECK_THROWS_AS(PerTokenSpan<int>(values)[2], LogicError);
    CHECK_THROWS_AS(PerTokenSpan<int>(values).part({1, 3}), LogicError);
    CHECK_THROWS_AS(part(std::span<int>(values), {-1, 0}), LogicError);
    CHECK_THROWS_AS(Offsets<TokenAxis>({0, 1})[1], LogicError);
}
#endif
