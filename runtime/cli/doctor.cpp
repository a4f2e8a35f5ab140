#include <hwloc.h>

#include <cstdlib>
#include <thread>

#include "comm/mpi/mpi_session.hpp"
#include "kernels/ops/gemm/gemm.hpp"
#include "runtime/cli/command_line.hpp"

namespace sy::runtime {
namespace {

std::string processor_features() {
#if defined(__x86_64__)
    std::string text;
    if (__builtin_cpu_supports("avx2")) text += "AVX2 ";
    if (__builtin_cpu_supports("avx512f")) text += "AVX-512 ";
    if (__builtin_cpu_supports("avx512bf16")) text += "bf16 ";
    return text.empty() ? "none of AVX2, AVX-512, bf16" : text;
#else
    return "not x86";
#endif
}

std::string hardware() {
    hwloc_topology_t topology = nullptr;
    if (hwloc_topology_init(&topology) != 0) return "hwloc does not start";
    std::string text = "hwloc cannot read this machine";
    if (hwloc_topology_load(topology) == 0) {
        text = concat(hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PACKAGE), " sockets, ",
                      hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE), " cores, ",
                      hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU), " hardware threads");
    }
    hwloc_topology_destroy(topology);
    return text;
}

}  // namespace

std::string doctor_report() {
    std::ostringstream text;
    text << "processor        " << hardware() << "; " << processor_features() << "\n";
    text << "matrix products  " << ops::GemmLibrary().name() << "\n";
    text << "MPI              " << comm::MpiSession::library_version() << "\n";
    text << "launcher         " << (comm::launched_by_mpi() ? "yes" : "no: a run here has one rank") << "\n";
    text << "CUDA, NCCL, UCX  not in this binary\n";
    return text.str();
}

}  // namespace sy::runtime
