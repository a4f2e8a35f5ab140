// Collectives over our own messages in turns with those of the MPI library, each result checked.
//   mpirun -n N collectives_peer
// "used" is what comm/collectives.cpp chooses, which is the library's up to a size of its own for each operation.
#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>

#include "comm/collectives.hpp"
#include "comm/mpi/mpi_session.hpp"

namespace {

using namespace sy;
using namespace sy::comm;

/// Completes an operation of the library itself.
void complete(Communicator& comm, std::unique_ptr<Request> request) {
    wait_all(comm, std::span<const std::unique_ptr<Request>>(&request, 1), "a collective of the library");
}

IntegerSpan integers(std::span<index_t> values) {
    return {std::as_writable_bytes(values), IntegerType::int64};
}

/// Median over repetitions of the slowest rank's microseconds for each body, called in turns.
template <std::size_t N>
std::array<double, N> median_us(Communicator& world, int num_calls,
                                const std::array<std::function<void()>, N>& bodies) {
    constexpr int kRepetitions = 9;
    std::array<std::vector<double>, N> times;
    for (int repetition = 0; repetition < kRepetitions; ++repetition) {
        for (std::size_t i = 0; i < N; ++i) {
            barrier(world);
            const Clock::time_point start = Clock::now();
            for (int call = 0; call < num_calls; ++call) bodies[i]();
            double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count() / num_calls;
            all_reduce(world, std::span<double>(&us, 1), ReduceOp::max);
            times[i].push_back(us);
        }
    }
    std::array<double, N> medians{};
    for (std::size_t i = 0; i < N; ++i) {
        std::ranges::nth_element(times[i], times[i].begin() + kRepetitions / 2);
        medians[i] = times[i][kRepetitions / 2];
    }
    return medians;
}

class Comparison {
  public:
    explicit Comparison(const MpiSession& mpi)
        : own_(mpi.world({}, index_t{1} << 30, MpiCollectiveBody::own)), used_(mpi.world({})) {}

    void run() {
        if (own_->rank() == 0)
            std::printf("%d ranks\nus per call       bytes      own  library     used\n", own_->size());
        line("barrier", 0,
             {[&] { barrier(*own_); }, [&] { complete(*used_, native().barrier()); },
              [&] { barrier(*used_); }});
        for (const index_t count : {1, 64, 256, 1024, 2048, 16384}) {
            all_reduces(count);
            scans(count);
            gathers(count);
        }
    }

  private:
    NativeCollectives& native() { return *used_->native_collectives(); }

    void line(const char* name, index_t bytes, const std::array<std::function<void()>, 3>& bodies) {
        const std::array<double, 3> us = median_us(*own_, bytes > 20000 ? 20 : 200, bodies);
        if (own_->rank() != 0) return;
        std::printf("%-12s %10lld %8.1f %8.1f %8.1f\n", name, static_cast<long long>(bytes), us[0], us[1],
                    us[2]);
    }

    void all_reduces(index_t count) {
        std::vector<index_t> values(static_cast<std::size_t>(count));
        const auto check = [&](const std::function<void(std::span<index_t>)>& reduce) {
            std::ranges::fill(values, own_->rank() + 1);
            reduce(values);
            const index_t expected = index_t{own_->size()} * (own_->size() + 1) / 2;
            SY_REQUIRE(values.back() == expected, "a sum is ", values.back(), " instead of ", expected);
        };
        line("all_reduce", count * 8,
             {[&] { check([&](std::span<index_t> v) { all_reduce(*own_, v); }); },
              [&] {
                  check([&](std::span<index_t> v) {
                      complete(*used_, native().all_reduce(integers(v), ReduceOp::sum));
                  });
              },
              [&] { check([&](std::span<index_t> v) { all_reduce(*used_, v); }); }});
    }

    void scans(index_t count) {
        std::vector<index_t> values(static_cast<std::size_t>(count));
        std::vector<index_t> totals;
        const auto check = [&](const std::function<void(std::span<index_t>)>& scan) {
            std::ranges::fill(values, own_->rank() + 1);
            scan(values);
            const index_t expected = index_t{own_->rank()} * (own_->rank() + 1) / 2;
            SY_REQUIRE(own_->rank() == 0 || values.back() == expected, "a sum of lower ranks is ",
                       values.back(), " instead of ", expected);
        };
        const auto by_library = [&](std::span<index_t> v) {
            totals.assign(v.begin(), v.end());
            std::vector<std::unique_ptr<Request>> requests;
            requests.push_back(native().exscan(integers(v)));
            requests.push_back(native().all_reduce(integers(totals), ReduceOp::sum));
            wait_all(*used_, requests, "a scan of the library");
        };
        line("exscan", count * 8,
             {[&] { check([&](std::span<index_t> v) { exscan(*own_, v); }); }, [&] { check(by_library); },
              [&] { check([&](std::span<index_t> v) { exscan(*used_, v); }); }});
    }

    void gathers(index_t count) {
        const std::vector<index_t> mine(static_cast<std::size_t>(count), own_->rank());
        const auto check = [&](std::span<const index_t> all) {
            SY_REQUIRE(all.back() == own_->size() - 1, "the last gathered value is ", all.back());
        };
        const auto by_library = [&] {
            std::vector<index_t> all(mine.size() * static_cast<std::size_t>(own_->size()), own_->rank());
            std::vector<index_t> offsets;
            for (int rank = 0; rank <= own_->size(); ++rank) offsets.push_back(rank * count * 8);
            complete(*used_, native().all_gather(std::as_writable_bytes(std::span<index_t>(all)), offsets));
            check(all);
        };
        line("all_gather", count * 8 * own_->size(),
             {[&] { check(all_gather(*own_, std::span<const index_t>(mine))); }, by_library,
              [&] { check(all_gather(*used_, std::span<const index_t>(mine))); }});
    }

    std::unique_ptr<Communicator> own_;
    std::unique_ptr<Communicator> used_;
};

}  // namespace

int main() {
    const MpiSession mpi;
    Comparison(mpi).run();
    return 0;
}
