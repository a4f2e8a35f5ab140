// refused: has no member named .team.|no member named 'team'
#include "kernels/core/context.hpp"

int threads(const sy::Context& context) {
    static_cast<void>(context.device.num_threads());
    return context.team.size();  // WRONG
}
