#include "tests/support/fenced_device.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/core/host_view.hpp"
#include "kernels/ops/cpu_bodies.hpp"

namespace sy::test {
namespace {

/// Types that point to memory of the caller: work with such an argument cannot wait.
template <class T>
struct is_span : std::false_type {};
template <class T>
struct is_span<std::span<T>> : std::true_type {};
template <class Axis, class T>
struct is_span<IndexedSpan<Axis, T>> : std::true_type {};
template <class T>
struct is_span<List<T>> : std::true_type {};
template <class T, class... Types>
inline constexpr bool is_any_of = (std::is_same_v<T, Types> || ...);
template <class T>
inline constexpr bool points_to_caller =
    is_span<T>::value ||
    is_any_of<T, ops::AttentionShape, ops::DecodeRows, ops::DropoutRows, ops::ExpertBackward,
              ops::ExpertSlots, ops::GateBackward, ops::RotaryTable>;
template <class Argument>
inline constexpr bool can_wait =
    (!std::is_lvalue_reference_v<Argument> ||
     std::is_const_v<std::remove_reference_t<Argument>>)&&!points_to_caller<std::remove_cvref_t<Argument>>;

/// The body of the CPU behind the fence.
template <auto row>
struct Fenced;
template <class Result, class... Arguments, Result (*ops::Bodies::*row)(Arguments...)>
struct Fenced<row> {
    static Result run(Arguments... arguments) {
        const Context& context = std::get<sizeof...(Arguments) - 1>(std::tie(arguments...));
        auto& device = dynamic_cast<FencedDevice&>(context.device);
        device.count_call(reinterpret_cast<const void*>(&run));
        // An operation that is part of another's body. What a callback of that body has queued comes before it.
        if (device.is_open()) {
            if (!device.runs_queued_work()) context.stream.synchronise(std::chrono::minutes(1));
            return (ops::kCpuBodies.*row)(arguments...);
        }
        if constexpr (std::is_void_v<Result> && (can_wait<Arguments> && ...)) {
            device.queue(context.stream, [values = std::tuple<std::remove_cvref_t<Arguments>...>(
                                              arguments...)] { std::apply(ops::kCpuBodies.*row, values); });
        } else {
            const FencedDevice::Access open(device, context.stream);
            return (ops::kCpuBodies.*row)(arguments...);
        }
    }
};

ops::Bodies make_table() {
    ops::Bodies table;
    ops::for_each_operation([&]<auto row>(const char*) { table.*row = &Fenced<row>::run; });
    return table;
}

const ops::Bodies& fenced_bodies() {
    static const ops::Bodies table = make_table();
    return table;
}

}  // namespace

Fence::~Fence() {
    for (const std::span<std::byte> slab : slabs_) munmap(slab.data(), slab.size());
}

std::byte* Fence::map(index_t bytes) {
    const auto size = static_cast<std::size_t>(round_up(bytes, 4096));
    void* const memory = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw Error(concat("fence: the system refused ", size, " bytes"));
    slabs_.emplace_back(static_cast<std::byte*>(memory), size);
    if (num_open_ > 0) protect(PROT_READ | PROT_WRITE);
    return slabs_.back().data();
}

void Fence::open() {
    if (num_open_++ == 0) protect(PROT_READ | PROT_WRITE);
}

void Fence::close() {
    if (--num_open_ == 0) protect(PROT_NONE);
}

void Fence::protect(int rights) const {
    for (const std::span<std::byte> slab : slabs_)
        SY_REQUIRE(mprotect(slab.data(), slab.size(), rights) == 0, "fence: mprotect refused");
}

void LazyStream::wait(const Event& event) {
    work_.push_back({[] {}, event, schedule_.next_age()});
    ++num_queued_;
}

void LazyStream::queue(std::function<void()> work) {
    work_.push_back({std::move(work), {}, schedule_.next_age()});
    ++num_queued_;
    if (schedule_.turns() == Turns::at_once) schedule_.finish(*this, std::chrono::minutes(1));
}

bool LazyStream::is_ready() const {
    if (work_.empty()) return false;
    const auto* const other = static_cast<const LazyStream*>(work_.front().after.stream);
    return other == nullptr || other->num_done_ >= work_.front().after.position;
}

LazyStream* Schedule::choose() {
    std::vector<LazyStream*> ready;
    std::ranges::copy_if(streams_, std::back_inserter(ready), &LazyStream::is_ready);
    if (ready.empty()) return nullptr;
    if (turns_ == Turns::drawn) return ready[draw_() % ready.size()];
    const auto age = [](const LazyStream* stream) { return stream->work_.front().age; };
    return turns_ == Turns::youngest ? *std::ranges::max_element(ready, {}, age)
                                     : *std::ranges::min_element(ready, {}, age);
}

void Schedule::finish(LazyStream& stream, std::chrono::milliseconds deadline) {
    const auto end = std::chrono::steady_clock::now() + deadline;
    while (!stream.work_.empty()) {
        LazyStream* const next = choose();
        if (next == nullptr || std::chrono::steady_clock::now() > end)
            throw TimeoutError(concat("fenced device: a stream with ", stream.work_.size(),
                                      " pieces of work waits for an event that does not come"));
        const LazyStream::Work work = std::move(next->work_.front());
        next->work_.pop_front();
        work.run();
        ++next->num_done_;
    }
}

void Schedule::drop() {
    for (LazyStream* const stream : streams_) stream->work_.clear();
}

FencedDevice::FencedDevice(Turns turns, int num_threads)
    : FencedParts{{}, Arena(index_t{2} << 20), Schedule(turns)},
      CpuDevice(num_threads, {.name = "fenced",
                              .bodies = fenced_bodies(),
                              .slab_bytes = index_t{1} << 20,
                              .map_slab = [this](index_t bytes) { return fence.map(bytes); },
                              .compute = std::make_unique<LazyStream>(schedule),
                              .transfer = std::make_unique<LazyStream>(schedule)}) {}

Buffer FencedDevice::allocate(index_t bytes, Memory memory) {
    if (memory == Memory::staging) return staging.allocate(bytes);
    return runs_late ? late.allocate(bytes) : CpuDevice::allocate(bytes);
}

void FencedDevice::copy(ConstTensorRef from, TensorRef to, Stream& stream) {
    queue(stream, [this, from, to, &stream] { CpuDevice::copy(from, to, stream); });
}

void FencedDevice::upload(const HostRef& made, TensorRef to, Stream& stream) {
    const ConstTensorRef values = made.readable();
    const auto staged =
        std::make_shared<Tensor>(*this, values.dtype(), Shape{values.rows(), values.cols()}, Memory::staging);
    CpuDevice::copy(values, *staged, stream);
    queue(stream, [this, staged, to, &stream] { CpuDevice::copy(*staged, to, stream); });
}

void FencedDevice::queue(Stream& stream, std::function<void()> work) {
    dynamic_cast<LazyStream&>(stream).queue([this, work = std::move(work)] {
        fence.open();
        const bool ran_late = std::exchange(runs_late, true);
        const auto end = [&] {
            runs_late = ran_late;
            fence.close();
        };
        try {
            work();
        } catch (...) {
            end();
            throw;
        }
        end();
    });
}

FencedDevice::Access::Access(FencedDevice& device, Stream& stream) : fence_(device.fence) {
    stream.synchronise(std::chrono::minutes(1));
    fence_.open();
}

std::vector<std::string> FencedDevice::uncalled() const {
    std::vector<std::string> names;
    ops::for_each_operation([&]<auto row>(const char* name) {
        if (!calls_.contains(reinterpret_cast<const void*>(fenced_bodies().*row))) names.emplace_back(name);
    });
    return names;
}

}  // namespace sy::test
