#pragma once

#include <memory>

/// A spin-wait may be for what other streams or other devices do. So when all threads of a grid that are left have yielded
/// (engine.hpp), and none has finished since, the grid halts, other work runs, and then they look again.
namespace sy::emulation {

struct Scheduler;

/// What run_grid throws then. The grid is the launch's, which has to outlive it.
struct GridHalted {
    std::shared_ptr<Scheduler> grid;
};

/// Goes on with a grid that has halted, as run_grid. @throws KernelFault, GridHalted
void go_on(const std::shared_ptr<Scheduler>& grid);

}  // namespace sy::emulation
