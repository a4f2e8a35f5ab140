#include <iostream>

#include "comm/mpi/mpi_session.hpp"
#include "runtime/cli/command_line.hpp"
#include "runtime/cli/guarded_main.hpp"
#include "runtime/telemetry/records.hpp"

int main(int argc, char** argv) {
    sy::runtime::Guard guard{sy::runtime::launcher_rank(), sy::runtime::host_name(), std::cerr, {}};
    if (sy::comm::launched_by_mpi())
        guard.abort_job = [](int exit_code) { sy::comm::MpiSession::abort(exit_code); };
    return sy::runtime::guarded_main(
        [&] {
            return sy::runtime::run_command_line({argv, static_cast<std::size_t>(argc)});
        },
        guard);
}
