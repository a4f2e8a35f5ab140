#pragma once

#include <memory>
#include <optional>

#include "kernels/core/trace.hpp"
#include "model/autograd/tape.hpp"

namespace sy::model {

/// What a part of a model is called in traces; string literals.
struct TracedPart {
    const char* forward;
    const char* backward;
};

/// Runs `part`, which records its backward steps on the tape, and writes both passes down if the log is open.
/// @param log   may be null
/// @param part  callable without arguments
/// @pre every value made before has been recorded
template <class Part>
Value& traced(Tape& tape, TraceLog* log, const TracedPart& names, index_t layer, const Part& part) {
    if (log == nullptr || !log->is_open()) return part();
    const auto backward = std::make_shared<std::optional<TraceSpan>>();  // Second owner: the other step.
    tape.record([backward] { backward->reset(); });
    Value* result = nullptr;
    {
        const TraceSpan span(log, TraceKind::compute, names.forward, layer);
        result = &part();
    }
    tape.record([backward, log, name = names.backward, layer] {
        backward->emplace(log, TraceKind::compute, name, layer);
    });
    return *result;
}

}  // namespace sy::model
