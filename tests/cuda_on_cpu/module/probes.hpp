#pragma once

#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

/// What tests look up in the module for the emulation, beside the program's symbol.
extern "C" {
sy::emulation::Counters* switchyard_emulation_counters();
}
