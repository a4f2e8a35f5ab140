#pragma once

#include <exception>
#include <string>

#include "comm/collectives.hpp"
#include "kernels/core/error.hpp"

namespace sy::runtime::detail {

/// Runs body on every rank; when any rank fails, all throw IoError with every rank's message.
/// @par Collective
template <class Body>
void together(comm::Communicator& world, const char* doing, const Body& body) {
    std::string problem;
    try {
        body();
    } catch (const std::exception& error) {
        problem = error.what();
    }
    std::string all;
    int rank = 0;
    try {
        for (const std::string& text : comm::all_gather(world, problem)) {
            if (!text.empty()) all += concat("\n  rank ", rank, ": ", text);
            ++rank;
        }
    } catch (const CommError& error) {
        if (problem.empty()) throw;
        throw IoError(
            concat(doing, " failed: ", problem, "; the other ranks could not be told: ", error.what()));
    }
    if (!all.empty()) throw IoError(concat(doing, " failed; earlier checkpoints are untouched:", all));
}

}  // namespace sy::runtime::detail
