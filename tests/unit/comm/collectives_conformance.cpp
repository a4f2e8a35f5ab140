// Every collective, for every element type, against closed forms.
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "comm/collectives.hpp"
#include "tests/unit/comm/conformance.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;

/// Short messages, long ones (above 16384 bytes), none, and counts that ranks do not divide.
constexpr index_t kCounts[] = {0, 1, 5, 1023, 9001};

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Element i of rank r. Floats are not exactly representable sums, so that the order of addition shows.
template <class T>
T value(int rank, index_t i) {
    if constexpr (std::is_floating_point_v<T>) {
        return static_cast<T>(normal({17, 0, static_cast<std::uint32_t>(rank), RandomPurpose::test},
                                     static_cast<std::uint64_t>(i))) *
               static_cast<T>(i % 3 == 0 ? 1e-4 : 1e3);
    } else {
        const auto hash = philox({17, 0, static_cast<std::uint32_t>(rank), RandomPurpose::test},
                                 static_cast<std::uint64_t>(i));
        return static_cast<T>((std::uint64_t{hash[0]} << 32) | hash[1]);
    }
}

template <class T>
std::vector<T> values_of(int rank, index_t count) {
    std::vector<T> values(at(count));
    for (index_t i = 0; i < count; ++i) values[at(i)] = value<T>(rank, i);
    return values;
}

/// The sum of element i over ranks [0, num_ranks), in ascending order; integers modulo 2^n.
template <class T>
T sum_of(int num_ranks, index_t i) {
    if constexpr (std::is_floating_point_v<T>) {
        T sum = num_ranks == 0 ? T{} : value<T>(0, i);
        for (int rank = 1; rank < num_ranks; ++rank) sum += value<T>(rank, i);
        return sum;
    } else {
        std::uint64_t sum = 0;
        for (int rank = 0; rank < num_ranks; ++rank) sum += static_cast<std::uint64_t>(value<T>(rank, i));
        return static_cast<T>(sum);
    }
}

template <class T, class Function>
std::vector<T> tabulate(index_t begin, index_t end, const Function& function) {
    std::vector<T> values;
    for (index_t i = begin; i < end; ++i) values.push_back(function(i));
    return values;
}

/// Calls body.template operator()<T>() for every element type of the collectives.
template <class Body>
void for_every_type(const Body& body) {
    body.template operator()<float>();
    body.template operator()<double>();
    body.template operator()<std::int32_t>();
    body.template operator()<std::int64_t>();
    body.template operator()<std::uint64_t>();
}

template <class T>
void check_all_reduce(Communicator& world) {
    const int ranks = world.size();
    for (const index_t count : kCounts) {
        std::vector<T> found = values_of<T>(world.rank(), count);
        all_reduce(world, std::span<T>(found));
        require_equal<T>(found, tabulate<T>(0, count, [&](index_t i) { return sum_of<T>(ranks, i); }), "sum");
        for (const ReduceOp op : {ReduceOp::max, ReduceOp::min}) {
            found = values_of<T>(world.rank(), count);
            all_reduce(world, std::span<T>(found), op);
            const auto extreme = [&](index_t i) {
                T result = value<T>(0, i);
                for (int rank = 1; rank < ranks; ++rank) {
                    const T other = value<T>(rank, i);
                    if (op == ReduceOp::max ? other > result : other < result) result = other;
                }
                return result;
            };
            require_equal<T>(found, tabulate<T>(0, count, extreme), "maximum or minimum");
        }
    }
}

/// Part r has (3 r + skew) % 4 * 40 elements: uneven, some empty.
std::vector<index_t> uneven_offsets(int ranks, int skew) {
    std::vector<index_t> offsets{0};
    for (int rank = 0; rank < ranks; ++rank) offsets.push_back(offsets.back() + (3 * rank + skew) % 4 * 40);
    return offsets;
}

template <class T>
void check_scatter_and_gather(Communicator& world) {
    for (int skew = 0; skew < 4; ++skew) {
        const std::vector<index_t> offsets = uneven_offsets(world.size(), skew);
        const index_t begin = offsets[at(world.rank())];
        const index_t end = offsets[at(world.rank()) + 1];
        const std::vector<T> values = values_of<T>(world.rank(), offsets.back());
        const std::vector<T> expected =
            tabulate<T>(begin, end, [&](index_t i) { return sum_of<T>(world.size(), i); });
        std::vector<T> part(at(end - begin));
        reduce_scatter(world, std::span<const T>(values), std::span<const index_t>(offsets),
                       std::span<T>(part));
        require_equal<T>(part, expected, "scattered sum");
        // In place: the part lies where it lies among the values.
        std::vector<T> whole = values;
        const std::span<T> place = std::span<T>(whole).subspan(at(begin), at(end - begin));
        reduce_scatter(world, std::span<const T>(whole), std::span<const index_t>(offsets), place);
        require_equal<T>(std::span<const T>(place), expected, "scattered sum in place");
        all_gather(world, std::span<T>(whole), std::span<const index_t>(offsets));
        require_equal<T>(
            whole, tabulate<T>(0, offsets.back(), [&](index_t i) { return sum_of<T>(world.size(), i); }),
            "gathered sums");
    }
}

template <class T>
void check_equal_gather(Communicator& world) {
    for (const index_t count : kCounts) {
        const std::vector<T> mine = values_of<T>(world.rank(), count);
        std::vector<T> expected;
        for (int rank = 0; rank < world.size(); ++rank) {
            const std::vector<T> theirs = values_of<T>(rank, count);
            expected.insert(expected.end(), theirs.begin(), theirs.end());
        }
        require_equal<T>(all_gather(world, std::span<const T>(mine)), expected, "gathered values");
    }
}

template <class T>
void check_exscan(Communicator& world) {
    for (const index_t count : kCounts) {
        std::vector<T> values = values_of<T>(world.rank(), count);
        const std::vector<T> totals = exscan(world, std::span<T>(values));
        require_equal<T>(values, tabulate<T>(0, count, [&](index_t i) { return sum_of<T>(world.rank(), i); }),
                         "sum of the lower ranks");
        require_equal<T>(totals, tabulate<T>(0, count, [&](index_t i) { return sum_of<T>(world.size(), i); }),
                         "totals");
    }
}

template <class T>
void check_broadcast(Communicator& world) {
    for (const index_t count : kCounts) {
        for (int root = 0; root < world.size(); ++root) {
            std::vector<T> values = values_of<T>(world.rank(), count);
            broadcast(world, std::span<T>(values), root);
            require_equal<T>(values, values_of<T>(root, count), concat("broadcast from rank ", root));
        }
    }
}

template <class T>
void check_all_to_all(Communicator& world) {
    for (const index_t each : {index_t{0}, index_t{1}, index_t{7}, index_t{3000}}) {
        // Rank s sends element (d * each + i) of its values to rank d.
        const std::vector<T> values = values_of<T>(world.rank(), each * world.size());
        std::vector<T> expected;
        for (int source = 0; source < world.size(); ++source) {
            for (index_t i = 0; i < each; ++i) expected.push_back(value<T>(source, world.rank() * each + i));
        }
        require_equal<T>(all_to_all(world, std::span<const T>(values)), expected, "all to all");
    }
}

void all_reduce_case(Communicator& world) {
    for_every_type([&]<class T>() { check_all_reduce<T>(world); });
}
void scatter_and_gather_case(Communicator& world) {
    for_every_type([&]<class T>() { check_scatter_and_gather<T>(world); });
}
void equal_gather_case(Communicator& world) {
    for_every_type([&]<class T>() { check_equal_gather<T>(world); });
}
void exscan_case(Communicator& world) {
    for_every_type([&]<class T>() { check_exscan<T>(world); });
}
void broadcast_case(Communicator& world) {
    for_every_type([&]<class T>() { check_broadcast<T>(world); });
}
void all_to_all_case(Communicator& world) {
    for_every_type([&]<class T>() { check_all_to_all<T>(world); });
}

void strings_of_any_length(Communicator& world) {
    const auto name = [](int rank) {
        return std::string(at(rank % 3) * 5000, static_cast<char>('a' + rank));
    };
    const std::vector<std::string> names = all_gather(world, name(world.rank()));
    SY_REQUIRE(static_cast<int>(names.size()) == world.size(), names.size(), " strings");
    for (int rank = 0; rank < world.size(); ++rank)
        SY_REQUIRE(names[at(rank)] == name(rank), "string of rank ", rank, " has ", names[at(rank)].size(),
                   " bytes");
}

void barrier_waits_for_all(Communicator& world) {
    // The clock counts from the machine's start, so all ranks of one machine read the same.
    for (int round = 0; round < 20; ++round) {
        // Ranks come late in turn.
        if (round % world.size() == world.rank()) {
            const auto until = Clock::now() + std::chrono::microseconds(500);
            while (Clock::now() < until) continue;
        }
        const std::int64_t came = Clock::now().time_since_epoch().count();
        barrier(world);
        std::int64_t left = Clock::now().time_since_epoch().count();
        std::int64_t last_came = came;
        all_reduce(world, std::span<std::int64_t>(&last_came, 1), ReduceOp::max);
        all_reduce(world, std::span<std::int64_t>(&left, 1), ReduceOp::min);
        SY_REQUIRE(left >= last_came, "a rank left the barrier ", last_came - left,
                   " ticks before the last came");
    }
}

/// Rank s sends (s + 2 d + tag) % 3 * 5000 bytes to rank d: some none at all.
std::vector<index_t> traffic(int ranks, int rank, int tag, bool sending) {
    std::vector<index_t> offsets{0};
    for (int peer = 0; peer < ranks; ++peer) {
        const int source = sending ? rank : peer;
        const int destination = sending ? peer : rank;
        offsets.push_back(offsets.back() + (source + 2 * destination + tag) % 3 * 5000);
    }
    return offsets;
}

void exchanges_under_way_at_once(Communicator& world) {
    constexpr int kExchanges = 4;
    struct Buffers {
        std::vector<std::byte> outgoing;
        std::vector<std::byte> incoming;
        PendingExchange pending;
    };
    std::vector<Buffers> all(kExchanges);
    for (int tag = 0; tag < kExchanges; ++tag) {
        const std::vector<index_t> send = traffic(world.size(), world.rank(), tag, true);
        const std::vector<index_t> receive = traffic(world.size(), world.rank(), tag, false);
        Buffers& buffers = all[at(tag)];
        for (int peer = 0; peer < world.size(); ++peer) {
            const std::vector<std::byte> part =
                pattern_message(world.rank() * 16 + peer, tag, at(send[at(peer) + 1] - send[at(peer)]));
            buffers.outgoing.insert(buffers.outgoing.end(), part.begin(), part.end());
        }
        buffers.incoming.resize(at(receive.back()));
        buffers.pending = start_all_to_all_v(world, buffers.outgoing, send, buffers.incoming, receive, tag,
                                             "test exchange");
    }
    // Completed in the opposite order, half of them by polling.
    for (int tag = kExchanges - 1; tag >= 0; --tag) {
        Buffers& buffers = all[at(tag)];
        while (tag % 2 == 0 && !buffers.pending.test()) continue;
        buffers.pending.wait();
        std::vector<std::byte> expected;
        for (int peer = 0; peer < world.size(); ++peer) {
            const std::vector<std::byte> part = pattern_message(
                peer * 16 + world.rank(), tag, at((peer + 2 * world.rank() + tag) % 3 * 5000));
            expected.insert(expected.end(), part.begin(), part.end());
        }
        SY_REQUIRE(buffers.incoming == expected, "exchange ", tag, " brought something else");
    }
}

void wrong_offsets_are_refused(Communicator& world) {
    std::vector<float> values(10);
    const std::span<float> all(values);
    const std::span<const float> constants(values);
    std::vector<index_t> offsets(at(world.size()) + 1, 10);
    offsets[0] = 0;
    const std::vector<index_t> longer(at(world.size()) + 2, 10);
    std::vector<index_t> beyond = offsets;
    beyond.back() = 11;
    std::vector<index_t> falling = offsets;
    falling.front() = 11;
    // From 0 to 10, but not ascending: a part would have fewer than no elements.
    std::vector<index_t> turning = offsets;
    if (world.size() > 2) turning[1] = 20;
    for (const std::vector<index_t>& wrong : {longer, beyond, falling, turning}) {
        if (wrong == offsets) continue;
        require_throws<LogicError>([&] { all_gather(world, all, std::span<const index_t>(wrong)); },
                                   "all_gather");
        require_throws<LogicError>(
            [&] { reduce_scatter(world, constants, std::span<const index_t>(wrong), std::span<float>()); },
            "reduce_scatter");
        const std::span<std::byte> bytes = std::as_writable_bytes(all).first(10);
        require_throws<LogicError>([&] { start_all_to_all_v(world, bytes, wrong, bytes, wrong, 0, "test"); },
                                   "start_all_to_all_v");
    }
    for (const int root : {-1, world.size()})
        require_throws<LogicError>([&] { broadcast(world, all, root); }, concat("broadcast from ", root));
    if (world.size() > 1) {
        require_throws<LogicError>([&] { all_to_all(world, constants.first(at(world.size()) + 1)); },
                                   "all_to_all of a remainder");
    }
}

/// This rank's share when addend i belongs to rank owner(i).
template <class Owner>
double dealt_sum(Communicator& world, std::span<const double> addends, const Owner& owner) {
    std::vector<double> mine;
    for (std::size_t i = 0; i < addends.size(); ++i) {
        if (owner(i) == world.rank()) mine.push_back(addends[i]);
    }
    return reproducible_sum(world, mine);
}

void reproducible_sum_ignores_grouping(Communicator& world) {
    std::vector<double> addends;
    for (std::uint64_t i = 0; i < 3000; ++i)
        addends.push_back(static_cast<double>(normal({3, 0, 0, RandomPurpose::test}, i)) *
                          (i % 7 == 0 ? 1e-9 : 1e3));
    const auto ranks = static_cast<std::size_t>(world.size());
    const double blocks =
        dealt_sum(world, addends, [&](std::size_t i) { return static_cast<int>(i * ranks / 3000); });
    const double cards =
        dealt_sum(world, addends, [&](std::size_t i) { return static_cast<int>(i % ranks); });
    const double last = dealt_sum(world, addends, [&](std::size_t) { return world.size() - 1; });
    std::reverse(addends.begin(), addends.end());
    const double reversed = dealt_sum(world, addends, [&](std::size_t) { return 0; });
    // The same on every number of ranks: a sum of one rank alone.
    const std::unique_ptr<Communicator> alone = world.split(world.rank(), 0);
    const double serial = reproducible_sum(*alone, addends);
    alone->close();
    for (const double sum : {blocks, cards, last, reversed}) SY_REQUIRE(sum == serial, sum, " and ", serial);
    long double exact = 0;
    for (const double addend : addends) exact += static_cast<long double>(addend);
    SY_REQUIRE(std::fabs(static_cast<double>(exact - static_cast<long double>(serial))) < 1e-12 * 1e6, serial,
               " is not the sum ", static_cast<double>(exact));
}

void exact_sums_ignore_grouping(Communicator& world) {
    std::vector<double> addends;
    for (std::uint64_t i = 0; i < 3000; ++i)
        addends.push_back(static_cast<double>(normal({4, 0, 0, RandomPurpose::test}, i)) *
                          (i % 7 == 0 ? 1e-9 : 1e12));
    std::vector<ExactSum> expected(3);
    std::vector<ExactSum> sums(3);
    for (std::size_t i = 0; i < addends.size(); ++i) {
        expected[i % 2].add(addends[i]);
        if (at(world.rank()) == i * i % at(world.size())) sums[i % 2].add(addends[i]);
    }
    // On every rank, so an even number of them where there are 2 or 4.
    expected[2].add(std::numeric_limits<double>::quiet_NaN());
    sums[2].add(std::numeric_limits<double>::quiet_NaN());
    all_reduce(world, sums);
    SY_REQUIRE(sums == expected, sums[0].value(), ", ", sums[1].value(), ", ", sums[2].value(),
               " instead of ", expected[0].value(), ", ", expected[1].value(), ", ", expected[2].value());
}

void reproducible_sum_is_exact_where_it_can_be(Communicator& world) {
    const auto once = [&](std::vector<double> addends) {
        return dealt_sum(world, addends, [&](std::size_t i) { return static_cast<int>(i) % world.size(); });
    };
    SY_REQUIRE(once({}) == 0.0 && once({0.0, -0.0}) == 0.0, "a sum of nothing");
    SY_REQUIRE(once({1e16, 1.0, -1e16}) == 1.0, "1e16 + 1 - 1e16 is ", once({1e16, 1.0, -1e16}));
    SY_REQUIRE(once({-0.75, 0.5, -0.125}) == -0.375, "a negative sum is ", once({-0.75, 0.5, -0.125}));
    SY_REQUIRE(once({0x1p-1074, 0x1p-1074}) == 0x1p-1073, "the smallest numbers");
    SY_REQUIRE(once({0x1.8p1023, -0x1p1023}) == 0x1p1022, "the largest numbers");
    SY_REQUIRE(std::isnan(once({1.0, std::numeric_limits<double>::infinity(), 2.0})), "an infinity");
    SY_REQUIRE(std::isnan(once({std::nan(""), 2.0})), "no number");
}

constexpr ConformanceCase kCases[] = {
    {"collectives: all_reduce has the sum in ascending rank order, the maximum and the minimum",
     all_reduce_case},
    {"collectives: reduce_scatter and all_gather with uneven and empty parts, also in place",
     scatter_and_gather_case},
    {"collectives: all_gather of equal counts", equal_gather_case},
    {"collectives: exscan gives the sums of lower ranks and the totals", exscan_case},
    {"collectives: broadcast from every root", broadcast_case},
    {"collectives: all_to_all", all_to_all_case},
    {"collectives: strings of any length are gathered", strings_of_any_length},
    {"collectives: no rank leaves a barrier before the last has come", barrier_waits_for_all},
    {"collectives: several all_to_all_v under way at once, with empty parts", exchanges_under_way_at_once},
    {"collectives: offsets and roots that cannot be are refused before anything is sent",
     wrong_offsets_are_refused},
    {"collectives: exact sums are the same to the bit however the addends are dealt out",
     exact_sums_ignore_grouping},
    {"collectives: reproducible_sum does not depend on how the addends are dealt out",
     reproducible_sum_ignores_grouping},
    {"collectives: reproducible_sum is exact where 78 bits suffice, and shows what is not finite",
     reproducible_sum_is_exact_where_it_can_be},
};

}  // namespace

std::span<const ConformanceCase> collectives_cases() {
    return kCases;
}

}  // namespace sy::test
