#include "runtime/cli/machine.hpp"

#include <hwloc.h>

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <memory>
#include <sstream>

#include "kernels/core/error.hpp"
#include "kernels/core/isa.hpp"
#include "kernels/core/types.hpp"
#include "runtime/cli/doctor_text.hpp"

namespace sy::runtime {
namespace {

struct DestroyTopology {
    void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;

/// Null when hwloc cannot read the machine.
Topology load_topology() {
    hwloc_topology_t raw = nullptr;
    if (hwloc_topology_init(&raw) != 0) return nullptr;
    Topology topology(raw);
    if (hwloc_topology_load(raw) != 0) return nullptr;
    return topology;
}

/// A line of /proc/meminfo, in its own unit (KiB or pages); -1 when it is not there.
index_t memory_line(const std::string& wanted) {
    std::ifstream file("/proc/meminfo");
    std::string name;
    std::string rest;
    index_t value = 0;
    while (file >> name >> value && std::getline(file, rest)) {
        if (name == wanted + ":") return value;
    }
    return -1;
}

std::string gibibytes(index_t kibibytes) {
    if (kibibytes < 0) return "not known";
    std::ostringstream text;
    text << std::fixed << std::setprecision(1) << static_cast<double>(kibibytes) / (1 << 20) << " GiB";
    return text.str();
}

std::string counted(int count, const char* what) {
    return concat(count, " ", what, count == 1 ? "" : "s");
}

}  // namespace

std::string processor_counts() {
    const Topology topology = load_topology();
    if (topology == nullptr) return "not known: hwloc cannot read this machine";
    const auto count = [&](hwloc_obj_type_t type) { return hwloc_get_nbobjs_by_type(topology.get(), type); };
    return concat(counted(count(HWLOC_OBJ_PACKAGE), "socket"), ", ", counted(count(HWLOC_OBJ_CORE), "core"),
                  ", ", counted(count(HWLOC_OBJ_PU), "hardware thread"));
}

std::string processor_features() {
#if defined(__x86_64__)
    std::string text;
    const auto add = [&](bool has, const char* name) {
        if (has) text += concat(text.empty() ? "" : ", ", name);
    };
    add(__builtin_cpu_supports("avx2") != 0, "AVX2");
    add(__builtin_cpu_supports("avx512f") != 0, "AVX-512");
    add(__builtin_cpu_supports("avx512bf16") != 0, "bf16");
    add(best_isa() == Isa::amx_bf16, "AMX");
    return text.empty() ? "none of AVX2, AVX-512, bf16, AMX" : text;
#else
    return "not x86";
#endif
}

std::string instruction_set() {
    const Isa best = best_isa();
    if (isa() == best) return concat(isa_name(best), ", the processor's best");
    return concat(isa_name(isa()), " by ", kIsaVariable, "; the processor's best is ", isa_name(best));
}

std::string memory_text() {
    return concat(gibibytes(memory_line("MemTotal")), ", ", gibibytes(memory_line("MemAvailable")),
                  " available");
}

std::string huge_pages_text() {
    std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
    std::string setting;
    std::getline(file, setting);
    const index_t reserved = memory_line("HugePages_Total");
    return concat("transparent: ", chosen_setting(setting),
                  "; reserved: ", reserved < 0 ? std::string("not known") : concat(reserved));
}

std::string bound_processors() {
    const Topology topology = load_topology();
    if (topology == nullptr) return "not known";
    const std::unique_ptr<hwloc_bitmap_s, decltype(&hwloc_bitmap_free)> set(hwloc_bitmap_alloc(),
                                                                            hwloc_bitmap_free);
    if (hwloc_get_cpubind(topology.get(), set.get(), HWLOC_CPUBIND_PROCESS) != 0) return "not known";
    char* list = nullptr;
    if (hwloc_bitmap_list_asprintf(&list, set.get()) < 0) return "not known";
    const std::unique_ptr<char, decltype(&std::free)> owner(list, std::free);
    return list;
}

}  // namespace sy::runtime
