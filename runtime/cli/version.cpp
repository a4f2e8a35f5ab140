#include <boost/version.hpp>

#include "comm/mpi/mpi_session.hpp"
#include "runtime/cli/command_line.hpp"

namespace sy::runtime {

std::string version_report() {
    return concat("switchyard ", SY_VERSION, "\n", "compiler         ", __VERSION__, "\n",
                  "MPI              ", comm::MpiSession::library_version(), "\n", "Boost            ",
                  BOOST_VERSION / 100000, ".", BOOST_VERSION / 100 % 1000, "\n");
}

}  // namespace sy::runtime
