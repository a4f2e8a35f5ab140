#include "tests/cuda_on_cpu/module/probes.hpp"

sy::emulation::Counters* switchyard_emulation_counters() {
    return &sy::emulation::counters();
}
