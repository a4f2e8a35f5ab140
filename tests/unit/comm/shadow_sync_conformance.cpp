// Gradients of shadows reach their primaries, and weights of primaries their shadows.
#include <algorithm>

#include "comm/gradient_sync/shadow_sync.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/comm/device_array.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Matrices of three sets (the last empty), each on a random set of ranks; the same on every rank.
struct Copies {
    struct Matrix {
        index_t number;
        index_t elements;
        int primary;
        std::vector<int> ranks;
    };
    Indexed<SetAxis, std::vector<Matrix>> sets = Indexed<SetAxis, std::vector<Matrix>>(3);

    Copies(int num_ranks, std::uint64_t seed) {
        Draws draws(seed);
        for (index_t number = 0; number < 14; ++number) {
            Matrix matrix{number, 1 + draws.below(700), static_cast<int>(draws.below(num_ranks)), {}};
            for (int rank = 0; rank < num_ranks; ++rank) {
                if (rank == matrix.primary || draws.below(2) == 0) matrix.ranks.push_back(rank);
            }
            sets[number / 7].push_back(matrix);
        }
    }
};

/// What one rank holds: of each set its primaries, then its shadows, with a gap behind each.
struct Local {
    struct Held {
        Copies::Matrix matrix;
        index_t offset;
    };
    std::vector<Held> held;
    Indexed<SetAxis, std::vector<CopiedMatrix>> copied;
    index_t num_elements = 0;

    Local(const Copies& copies, int rank) : copied(copies.sets.size()) {
        for (index_t set = 0; set < copies.sets.size(); ++set) {
            for (const bool primaries : {true, false}) {
                for (const Copies::Matrix& matrix : copies.sets[set]) {
                    const bool here = std::ranges::count(matrix.ranks, rank) > 0;
                    if (!here || (matrix.primary == rank) != primaries) continue;
                    held.push_back({matrix, num_elements});
                    if (matrix.ranks.size() > 1)
                        copied[set].push_back({num_elements, matrix.elements, matrix.primary, matrix.ranks});
                    num_elements += matrix.elements + 3;
                }
            }
        }
    }
};

/// Floats whose sums round, integers whose partial sums leave their range.
template <class T>
T gradient_of(index_t matrix, int rank, int step, index_t i) {
    const float draw = normal({31 + static_cast<std::uint64_t>(matrix), static_cast<std::uint64_t>(step),
                               static_cast<std::uint32_t>(rank), RandomPurpose::test},
                              static_cast<std::uint64_t>(i));
    if constexpr (std::is_same_v<T, float>) {
        return draw * (i % 3 == 0 ? 1e-4F : 1e2F);
    } else {
        return static_cast<T>(static_cast<double>(draw) * 0x1p60);
    }
}

template <class T>
T sum_of(const Copies::Matrix& matrix, int step, index_t i) {
    T sum = gradient_of<T>(matrix.number, matrix.ranks.front(), step, i);
    for (std::size_t r = 1; r < matrix.ranks.size(); ++r) {
        const T next = gradient_of<T>(matrix.number, matrix.ranks[r], step, i);
        if constexpr (std::is_same_v<T, float>) {
            sum += next;
        } else {
            sum = static_cast<T>(static_cast<std::uint64_t>(sum) + static_cast<std::uint64_t>(next));
        }
    }
    return sum;
}

/// Three steps: sets started and polled in backward's order, some never started, none started.
template <class T>
void check_sums(Communicator& group, std::uint64_t seed, std::unique_ptr<CpuDevice> device = nullptr) {
    const TestSession session = session_on(std::move(device));
    const Copies copies(group.size(), seed);
    const Local local(copies, group.rank());
    // Outlives `sync`: when a rank fails, the others may read what they were offered until `sync` is destroyed.
    DeviceArray<T> gradient(std::vector<T>(at(local.num_elements)), session.context);
    ShadowSync sync(group, local.copied, 100, session.context);
    index_t sent = 0;
    for (int step = 0; step < 3; ++step) {
        std::vector<T> values(at(local.num_elements), T(7));
        std::vector<T> expected = values;
        for (const Local::Held& held : local.held) {
            const bool primary = held.matrix.primary == group.rank();
            for (index_t i = 0; i < held.matrix.elements; ++i) {
                const T own = gradient_of<T>(held.matrix.number, group.rank(), step, i);
                values[at(held.offset + i)] = own;
                expected[at(held.offset + i)] = primary ? sum_of<T>(held.matrix, step, i) : own;
            }
            if (!primary) sent += held.matrix.elements * index_t{sizeof(T)};
        }
        gradient.write(values);
        for (index_t set = 2; set >= step; --set) {
            sync.start(set, gradient.ref());
            sync.try_finish(set, gradient.ref());
        }
        sync.finish(gradient.ref());
        require_equal<T>(gradient.read(), expected, concat("gradients at step ", step));
    }
    SY_REQUIRE(sync.sent_bytes() == sent, "sent ", sync.sent_bytes(), " bytes instead of ", sent);
}

template <class T>
void check_spread(Communicator& group, std::uint64_t seed, std::unique_ptr<CpuDevice> device = nullptr) {
    const TestSession session = session_on(std::move(device));
    const Copies copies(group.size(), seed);
    const Local local(copies, group.rank());
    ShadowSync sync(group, local.copied, 0, session.context);
    std::vector<T> weights(at(local.num_elements), T(-1.0F));
    std::vector<float> expected(at(local.num_elements), -1.0F);
    for (const Local::Held& held : local.held) {
        for (index_t i = 0; i < held.matrix.elements; ++i) {
            expected[at(held.offset + i)] = static_cast<float>((held.matrix.number * 7 + i) % 256);
            if (held.matrix.primary == group.rank())
                weights[at(held.offset + i)] = T(expected[at(held.offset + i)]);
        }
    }
    DeviceArray<T> on_device(weights, session.context);
    sync.spread(on_device.ref());
    const std::vector<T> found = on_device.read();
    require_equal<float>(std::vector<float>(found.begin(), found.end()), expected, "weights");
}

void sums_are_in_rank_order(Communicator& world) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        check_sums<float>(world, seed);
        check_sums<std::int64_t>(world, seed);
    }
}

void weights_reach_shadows(Communicator& world) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        check_spread<float>(world, seed);
        check_spread<bf16>(world, seed);
    }
}

/// Gradients and weights in memory that the host cannot reach, of operations that are done when they are waited for.
void device_behind_a_fence(Communicator& world) {
    behind_a_fence([&](const auto& make_device) {
        check_sums<float>(world, 1, make_device());
        check_sums<std::int64_t>(world, 2, make_device());
        check_spread<float>(world, 3, make_device());
        check_spread<bf16>(world, 4, make_device());
    });
}

void wrong_use_is_refused(Communicator& world) {
    TestSession session(1);
    const auto sync_of = [&](CopiedMatrix matrix, int tag_base) {
        return ShadowSync(world, {{std::move(matrix)}}, tag_base, session.context);
    };
    const int me = world.rank();
    require_throws<LogicError>([&] { sync_of({0, 4, me, {me}}, kMaxTag); }, "tags beyond the last");
    require_throws<LogicError>([&] { sync_of({0, 4, me, {me, world.size()}}, 0); }, "a rank too many");
    require_throws<LogicError>([&] { sync_of({0, 4, me + 1, {me}}, 0); }, "a primary that holds nothing");
    require_throws<LogicError>([&] { sync_of({0, 4, me + 1, {me + 1}}, 0); }, "a matrix of another rank");
    std::vector<float> gradient(4);
    ShadowSync sync(world, {{}}, 0, session.context);
    require_throws<LogicError>([&] { sync.try_finish(0, host_operand(std::span<float>(gradient))); },
                               "a set that was not started");
    sync.start(0, host_operand(std::span<const float>(gradient)));
    require_throws<LogicError>([&] { sync.start(0, host_operand(std::span<const float>(gradient))); },
                               "a set that is started twice");
    sync.finish(host_operand(std::span<float>(gradient)));
}

constexpr ConformanceCase kCases[] = {
    {"shadow sync: primaries get the sum over all copies in ascending rank order", sums_are_in_rank_order},
    {"shadow sync: shadows get the weights of their primaries", weights_reach_shadows},
    {"shadow sync: sums and weights on a device that the host cannot reach", device_behind_a_fence},
    {"shadow sync: wrong matrices, orders and tags are refused", wrong_use_is_refused},
};

}  // namespace

std::span<const ConformanceCase> shadow_sync_cases() {
    return kCases;
}

}  // namespace sy::test
