#include "comm/exchange/window_exchange.hpp"

#include <array>

namespace sy::comm {
namespace {

std::unique_ptr<DeviceWindows> make_windows(Communicator& group, const Context& context) {
    WindowedGroup* const windowed = windowed_group(group);
    if (windowed == nullptr)
        throw ConfigError(concat("one-sided: rows of ", context.device.name(),
                                 " are put into other GPUs' memory by NCCL, which does not connect ",
                                 group.settings().name));
    return windowed->make_windows(context);
}

}  // namespace

WindowMemory::WindowMemory(Communicator& group, const Context& context)
    : windows_(make_windows(group, context)),
      arena_(kSlabBytes, [this](index_t bytes) { return windows_->open(bytes); }) {}

WindowExchange::WindowExchange(Communicator& group, const Topology& topology, const Context& context)
    : WindowMemory(group, context),
      UnitExchange(ExchangeKind::flat, group, topology, context.device, &windows(), context) {}

DispatchPlan WindowExchange::plan(const Choices& choices, const Placement& placement, ReturnRows return_rows,
                                  SlotChunks chunks) {
    DispatchPlan plan = UnitExchange::plan(choices, placement, return_rows, chunks);
    const BlockingTime blocking(group_, times_.plan);
    const index_t used = arena().used_bytes();
    std::array<std::int64_t, 4> most{plan.receive.num_rows(), plan.back.num_results, used, -used};
    all_reduce(group_, std::span<std::int64_t>(most), ReduceOp::max);
    SY_REQUIRE(most[2] == used && most[3] == -used, "one-sided: rank ", group_.rank(), " uses ", used,
               " bytes of its windows, another one ", most[2] != used ? most[2] : -most[3],
               "; they have not allocated alike");
    plan.most = {most[0], most[1]};
    return plan;
}

Tensor WindowExchange::allocate(DType dtype, Shape shape, index_t most_rows) {
    return {arena(), dtype, {most_rows, shape[1]}};
}

void WindowExchange::close() {
    windows().close();
}

}  // namespace sy::comm
