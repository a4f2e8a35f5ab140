// Gradient synchronisation against serial sums.
#include <numeric>

#include "comm/gradient_sync/gradient_sync.hpp"
#include "tests/unit/comm/conformance.hpp"
#include "tests/unit/comm/device_array.hpp"

namespace sy::test {
namespace {

using namespace sy::comm;

std::size_t at(index_t i) {
    return static_cast<std::size_t>(i);
}

/// Matrices of all kinds: many rows, one row, more ranks than rows, no rows, no columns.
BucketPlan make_plan(int num_ranks, index_t bucket_elements) {
    std::vector<FlatMatrix> matrices;
    index_t offset = 0;
    for (const auto& [rows, cols] : std::initializer_list<std::pair<index_t, index_t>>{
             {5, 7}, {1, 9}, {0, 4}, {300, 40}, {2, 11}, {3, 0}, {64, 3}, {1, 1}}) {
        matrices.push_back({offset, rows, cols});
        offset += rows * cols;
    }
    return make_bucket_plan(matrices, num_ranks, bucket_elements);
}

index_t num_elements(const BucketPlan& plan) {
    return plan.matrices.back().offset + plan.matrices.back().rows * plan.matrices.back().cols;
}

/// Element i of the gradient of `rank` at `step`: floats whose sums round, integers that use 62 bits.
template <class T>
T gradient_of(int rank, int step, index_t i) {
    const float draw =
        normal({21, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(rank), RandomPurpose::test},
               static_cast<std::uint64_t>(i));
    if constexpr (std::is_same_v<T, float>) {
        return draw * (i % 3 == 0 ? 1e-4F : 1e2F);
    } else {
        return static_cast<T>(static_cast<double>(draw) * 0x1p55);
    }
}

template <class T>
T sum_of(int num_ranks, int step, index_t i) {
    T sum = gradient_of<T>(0, step, i);
    for (int rank = 1; rank < num_ranks; ++rank) sum += gradient_of<T>(rank, step, i);
    return sum;
}

/// The elements of the flat array that `rank` owns, in the order of its slice.
std::vector<index_t> owned(const BucketPlan& plan, int rank) {
    std::vector<index_t> elements;
    for (const RowRange& range : plan.rows_of(rank)) {
        const FlatMatrix& matrix = plan.matrices[range.matrix];
        for (index_t i = range.rows.begin * matrix.cols; i < range.rows.end * matrix.cols; ++i)
            elements.push_back(matrix.offset + i);
    }
    return elements;
}

/// The order in which backward finishes the matrices at `step`: descending, ascending, mixed up, or some never.
std::vector<index_t> order_at(int step, int rank, index_t num_matrices) {
    std::vector<index_t> order(at(num_matrices));
    std::iota(order.begin(), order.end(), 0);
    if (step == 0) std::reverse(order.begin(), order.end());
    if (step == 2) {
        Draws draws(40 + static_cast<std::uint64_t>(rank));
        for (std::size_t i = order.size(); i > 1; --i)
            std::swap(order[i - 1], order[at(draws.below(static_cast<index_t>(i)))]);
    }
    if (step == 3) order.resize(at(rank % 3));
    return order;
}

/// Four steps in a row, each with another gradient in the same memory.
template <class T>
void check_sums(Communicator& group, index_t bucket_elements, std::unique_ptr<CpuDevice> device = nullptr) {
    const TestSession session = session_on(std::move(device));
    const BucketPlan plan = make_plan(group.size(), bucket_elements);
    // Outlives `sync`: when a rank fails, the others may read what they were offered until `sync` is destroyed.
    DeviceArray<T> gradient(std::vector<T>(at(num_elements(plan))), session.context);
    GradientSync sync(group, plan, 100, session.context);
    const std::vector<index_t> mine = owned(plan, group.rank());
    for (int step = 0; step < 4; ++step) {
        std::vector<T> values;
        for (index_t i = 0; i < num_elements(plan); ++i)
            values.push_back(gradient_of<T>(group.rank(), step, i));
        gradient.write(values);
        for (const index_t matrix : order_at(step, group.rank(), plan.matrices.size())) {
            sync.ready(matrix, gradient.ref());
            sync.progress();
        }
        sync.finish(gradient.ref());
        const std::vector<T> found = gradient.read();
        std::vector<T> sums;
        std::vector<T> expected;
        for (const index_t i : mine) {
            sums.push_back(found[at(i)]);
            expected.push_back(sum_of<T>(group.size(), step, i));
        }
        require_equal<T>(sums, expected, concat("sums at step ", step, " in buckets of ", bucket_elements));
    }
    // Each rank sends what others own of its gradient, four times.
    const index_t sent = 4 * (num_elements(plan) - static_cast<index_t>(mine.size())) * index_t{sizeof(T)};
    SY_REQUIRE(sync.sent_bytes() == (group.size() == 1 ? 0 : sent), "sent ", sync.sent_bytes(),
               " instead of ", sent);
}

template <class T>
void check_gather(Communicator& group, index_t bucket_elements, std::unique_ptr<CpuDevice> device = nullptr) {
    const TestSession session = session_on(std::move(device));
    const BucketPlan plan = make_plan(group.size(), bucket_elements);
    GradientSync sync(group, plan, 0, session.context);
    for (int step = 0; step < 2; ++step) {
        std::vector<float> expected;
        for (index_t i = 0; i < num_elements(plan); ++i)
            expected.push_back(static_cast<float>((i * 7 + step) % 256));
        std::vector<T> own(expected.size(), T(-1.0F));
        for (const index_t i : owned(plan, group.rank())) own[at(i)] = T(expected[at(i)]);
        DeviceArray<T> weights(own, session.context);
        sync.gather(weights.ref());
        const std::vector<T> gathered = weights.read();
        require_equal<float>(std::vector<float>(gathered.begin(), gathered.end()), expected,
                             "gathered weights");
    }
}

void sums_are_exact_and_ordered(Communicator& world) {
    for (const index_t bucket_elements : {1, 50, 1000, 1000000}) {
        check_sums<std::int64_t>(world, bucket_elements);
        check_sums<float>(world, bucket_elements);
    }
}

void weights_are_gathered(Communicator& world) {
    for (const index_t bucket_elements : {1, 50, 1000000}) {
        check_gather<float>(world, bucket_elements);
        check_gather<bf16>(world, bucket_elements);
    }
}

/// The gradient in memory that the host cannot reach, of operations that are done when they are waited for.
void device_behind_a_fence(Communicator& world) {
    behind_a_fence([&](const auto& make_device) {
        check_sums<std::int64_t>(world, 50, make_device());
        check_sums<float>(world, 1000, make_device());
        check_gather<float>(world, 50, make_device());
        check_gather<bf16>(world, 1000000, make_device());
    });
}

void groups_work_at_once(Communicator& world) {
    const std::unique_ptr<Communicator> half = world.split(world.rank() % 2, world.rank());
    check_sums<float>(*half, 50);
    check_gather<float>(*half, 50);
    half->close();
}

void wrong_use_is_refused(Communicator& world) {
    TestSession session(1);
    const BucketPlan plan = make_plan(world.size(), 1000000);
    std::vector<float> gradient(at(num_elements(plan)), 1.0F);  // Outlives `sync`, as in check_sums().
    GradientSync sync(world, plan, 0, session.context);
    const ConstTensorRef all = host_operand(std::span<const float>(gradient));
    const auto num_matrices = static_cast<index_t>(plan.matrices.size());
    for (const index_t matrix : {index_t{-1}, num_matrices})
        require_throws<LogicError>([&] { sync.ready(matrix, all); }, concat("matrix ", matrix));
    require_throws<LogicError>([&] { sync.ready(0, all.cols_of({0, 3})); }, "a gradient that is too short");
    sync.ready(0, all);
    // Counted twice, a matrix would start its bucket before the others are there.
    require_throws<LogicError>([&] { sync.ready(0, all); }, "a matrix that is ready twice");
    const TensorRef values = host_operand(std::span(gradient));
    require_throws<LogicError>([&] { sync.finish(values.cols_of({0, 3})); }, "a gradient that is too short");
    sync.finish(values);
    std::vector<float> sums;
    for (const index_t i : owned(plan, world.rank())) sums.push_back(gradient[at(i)]);
    require_equal<float>(sums, std::vector<float>(sums.size(), static_cast<float>(world.size())), "sums");
    require_throws<LogicError>([&] { sync.gather(values.cols_of({0, 1})); }, "weights that are too short");
    require_throws<LogicError>([&] { GradientSync(world, plan, kMaxTag, session.context); },
                               "tags beyond the last");
}

constexpr ConformanceCase kCases[] = {
    {"gradient sync: int64 sums are exact, float sums in ascending rank order, over several steps in any "
     "order",
     sums_are_exact_and_ordered},
    {"gradient sync: every owner's rows reach all", weights_are_gathered},
    {"gradient sync: sums and weights on a device that the host cannot reach", device_behind_a_fence},
    {"gradient sync: two groups work at the same time", groups_work_at_once},
    {"gradient sync: wrong matrices, slices and tags are refused", wrong_use_is_refused},
};

}  // namespace

std::span<const ConformanceCase> gradient_sync_cases() {
    return kCases;
}

}  // namespace sy::test
