#pragma once

#include <span>
#include <string>

#include "kernels/core/trace.hpp"
#include "runtime/json/json.hpp"
#include "runtime/telemetry/clock_alignment.hpp"

/// What a trace holds of a rank, in the Trace Event Format that Perfetto and chrome://tracing open.
/// @par Source  "Trace Event Format", Google, 2016
namespace sy::runtime {

/// Whose events they are.
struct TraceSource {
    int rank = 0;
    std::string host;
    AlignedClock clock;
    std::int64_t origin_ns = 0;  ///< of rank 0's clock: the trace's time 0
};

/// Threads of a rank in a trace.
inline constexpr int kRankThread = 1;
inline constexpr int kBackgroundThread = 2;

/// Between events.
inline constexpr const char* kTraceSeparator = ",\n";

/// Names of the rank and its threads, as events.
std::string trace_names(const TraceSource& source);

/// What happened, as events; may be empty.
/// @param thread  that the spans are of; flights are of none
/// @param sent_bytes  so far; counted on
std::string trace_events(const TraceSource& source, std::span<const TraceEvent> events, int thread,
                         index_t& sent_bytes);

/// How far the rank's clock was from rank 0's, and how well that is known.
Json clock_record(const TraceSource& source, index_t num_events, index_t num_dropped);

}  // namespace sy::runtime
