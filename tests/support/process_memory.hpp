#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::test {

/// Bytes of this process's mappings whose files' names contain `name`, by a field of /proc/self/smaps, "Size" or "Rss".
inline index_t mapped_bytes(const std::string& name, const std::string& field) {
    std::ifstream maps("/proc/self/smaps");
    bool counts = false;
    index_t kibibytes = 0;
    for (std::string line; std::getline(maps, line);) {
        std::istringstream words(line);
        std::string first;
        index_t number = 0;
        words >> first;
        // A mapping begins with its addresses, "7f..-7f..".
        if (!first.ends_with(':')) counts = line.find(name) != std::string::npos;
        if (counts && first == field + ":" && words >> number) kibibytes += number;
    }
    return kibibytes * 1024;
}

/// Bytes of memory that this process has now.
inline index_t resident_bytes() {
    return mapped_bytes("", "Rss");
}

}  // namespace sy::test
