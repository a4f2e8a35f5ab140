// Rows that get another owner arrive where the plan takes them.
#include "comm/relocation/move_rows.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/comm/device_array.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Twenty matrices, each cut at random between random ranks; rank arrays have gaps. Shapes do not depend on `seed`.
RowOwners random_owners(int num_ranks, std::uint64_t seed) {
    Draws draws(seed);
    RowOwners owners(num_ranks);
    PerRank<index_t> next(num_ranks, 0);
    for (index_t matrix = 0; matrix < 20; ++matrix) {
        const index_t rows = 1 + matrix * 7 % 40;
        const index_t cols = 1 + matrix * 5 % 13;
        for (index_t first = 0; first < rows;) {
            const index_t end = std::min(rows, first + 1 + draws.below(rows));
            const index_t rank = draws.below(num_ranks);
            owners[rank].push_back({matrix, {first, end}, cols, next[rank]});
            next[rank] += (end - first) * cols + 2;
            first = end;
        }
    }
    return owners;
}

/// The array of a rank: every element known by its place in its matrix, -1 in the gaps.
std::vector<float> array_of(const std::vector<HeldRows>& held) {
    std::vector<float> values;
    for (const HeldRows& rows : held) {
        values.resize(std::max(values.size(), at(rows.offset + rows.rows.size() * rows.cols)), -1.0F);
        for (index_t i = 0; i < rows.rows.size() * rows.cols; ++i)
            values[at(rows.offset + i)] =
                static_cast<float>(rows.matrix * 1000 + rows.rows.begin * rows.cols + i);
    }
    return values;
}

void check_rows(Communicator& world, std::unique_ptr<CpuDevice> device = nullptr) {
    const TestSession session = session_on(std::move(device));
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        const RowOwners before = random_owners(world.size(), seed);
        const RowOwners after = random_owners(world.size(), 100 + seed);
        const MovePlan plan = plan_moves(before, after);
        DeviceArray<float> from(array_of(before[world.rank()]), session.context);
        const std::vector<float> expected = array_of(after[world.rank()]);
        DeviceArray<float> to(std::vector<float>(expected.size(), -1.0F), session.context);
        index_t sent = 0;
        for (const Move& move : plan.moves) {
            if (move.source == world.rank() && move.destination != world.rank()) sent += 4 * move.elements();
        }
        const index_t counted = move_rows(world, plan, from.ref(), to.ref(), 7, "a test", session.context);
        require_equal<float>(to.read(), expected, concat("rows of seed ", seed));
        SY_REQUIRE(counted == sent, "counted ", counted, " bytes instead of ", sent);
    }
}

void every_row_arrives(Communicator& world) {
    check_rows(world);
}

void device_behind_a_fence(Communicator& world) {
    behind_a_fence([&](const auto& make_device) { check_rows(world, make_device()); });
}

void arrays_that_are_too_short(Communicator& world) {
    const TestSession session;
    const RowOwners owners = random_owners(world.size(), 3);
    const MovePlan plan = plan_moves(owners, owners);
    const std::vector<float> from = array_of(owners[world.rank()]);
    if (from.empty()) return;
    std::vector<float> to(from.size() - 1);
    const std::string text = require_throws<LogicError>(
        [&] {
            move_rows(world, plan, host_operand(std::span(from)), host_operand(std::span(to)), 7, "a test",
                      session.context);
        },
        "an array that is too short");
    SY_REQUIRE(text.find("of the new " + std::to_string(to.size())) != std::string::npos, text);
}

constexpr ConformanceCase kCases[] = {
    {"relocation: every row arrives at its new owner, and only there", every_row_arrives},
    {"relocation: rows of a device that the host cannot reach", device_behind_a_fence},
    {"relocation: arrays that do not hold what the plan names are refused", arrays_that_are_too_short},
};

}  // namespace

std::span<const ConformanceCase> relocation_cases() {
    return kCases;
}

}  // namespace sy::test
