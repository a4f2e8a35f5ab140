#pragma once

#include <string>

/// What this process sees of its machine, in words.
namespace sy::runtime {

/// "1 socket, 2 cores, 2 hardware threads": those this process may use.
std::string processor_counts();

/// "AVX2, AVX-512, bf16".
std::string processor_features();

/// What operations use: "avx512_bf16, the processor's best"; "avx2 by SWITCHYARD_ISA; the processor's best is avx512".
std::string instruction_set();

/// "23.4 GiB, 18.0 GiB available".
std::string memory_text();

/// "transparent: madvise; reserved: 0".
std::string huge_pages_text();

/// Hardware threads this process may run on: "0-1".
std::string bound_processors();

}  // namespace sy::runtime
