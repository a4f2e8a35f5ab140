#include "runtime/telemetry/trace_events.hpp"

#include <algorithm>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

/// Microseconds since the trace's beginning. What began before begins with it.
double microseconds(const TraceSource& source, std::int64_t ns) {
    const std::int64_t since = source.clock.to_rank_0(ns) - source.origin_ns;
    return static_cast<double>(std::max<std::int64_t>(since, 0)) / 1e3;
}

Json::Object event_at(const TraceSource& source, const char* type, const char* name, std::int64_t ns) {
    return {{"ph", type}, {"name", name}, {"pid", source.rank}, {"ts", microseconds(source, ns)}};
}

Json arguments(const TraceEvent& event) {
    Json::Object members{{"step", event.step}, {"micro_step", event.micro_step}};
    if (event.layer >= 0) members.push_back({"layer", event.layer});
    if (event.waited_seconds > 0.0) members.push_back({"waited_us", 1e6 * event.waited_seconds});
    if (event.bytes >= 0) members.push_back({"bytes", event.bytes});
    return members;
}

void append(std::string& text, Json::Object event) {
    if (!text.empty()) text += kTraceSeparator;
    text += Json(std::move(event)).text();
}

void append_span(std::string& text, const TraceSource& source, const TraceEvent& event, int thread) {
    Json::Object span = event_at(source, "X", event.name, event.start_ns);
    const double start = microseconds(source, event.start_ns);
    span.push_back({"dur", microseconds(source, event.end_ns) - start});
    span.push_back({"tid", thread});
    span.push_back({"cat", trace_kind_name(event.kind)});
    span.push_back({"args", arguments(event)});
    append(text, std::move(span));
}

/// Two events that belong together by their number, and what has been sent by then.
void append_flight(std::string& text, const TraceSource& source, const TraceEvent& event,
                   index_t& sent_bytes) {
    const std::string id = concat(source.rank, ".", event.start_ns);
    for (const bool begins : {true, false}) {
        Json::Object edge =
            event_at(source, begins ? "b" : "e", event.name, begins ? event.start_ns : event.end_ns);
        edge.push_back({"tid", kRankThread});
        edge.push_back({"cat", trace_kind_name(event.kind)});
        edge.push_back({"id", id});
        if (begins) edge.push_back({"args", arguments(event)});
        append(text, std::move(edge));
    }
    if (event.bytes < 0) return;
    sent_bytes += event.bytes;
    Json::Object counter = event_at(source, "C", "rows sent", event.start_ns);
    counter.push_back({"args", Json::Object{{"bytes", sent_bytes}}});
    append(text, std::move(counter));
}

void append_name(std::string& text, int rank, const char* what, int thread, Json::Object arguments) {
    append(text,
           {{"ph", "M"}, {"name", what}, {"pid", rank}, {"tid", thread}, {"args", std::move(arguments)}});
}

}  // namespace

std::string trace_names(const TraceSource& source) {
    std::string text;
    append_name(text, source.rank, "process_name", 0,
                {{"name", concat("rank ", source.rank, " on ", source.host)}});
    append_name(text, source.rank, "process_sort_index", 0, {{"sort_index", source.rank}});
    append_name(text, source.rank, "thread_name", kRankThread, {{"name", "rank"}});
    append_name(text, source.rank, "thread_name", kBackgroundThread, {{"name", "checkpoint writer"}});
    return text;
}

std::string trace_events(const TraceSource& source, std::span<const TraceEvent> events, int thread,
                         index_t& sent_bytes) {
    std::string text;
    for (const TraceEvent& event : events) {
        if (source.clock.to_rank_0(event.end_ns) < source.origin_ns) continue;
        if (event.in_flight) {
            append_flight(text, source, event, sent_bytes);
        } else {
            append_span(text, source, event, thread);
        }
    }
    return text;
}

Json clock_record(const TraceSource& source, index_t num_events, index_t num_dropped) {
    const AlignedClock& clock = source.clock;
    return Json::Object{{"rank", source.rank},
                        {"host", source.host},
                        {"events", num_events},
                        {"dropped_events", num_dropped},
                        {"clock_offset_us", 1e-3 * static_cast<double>(clock.begin().offset_ns)},
                        {"clock_drift_ppm", clock.drift_ppm()},
                        {"clock_error_us",
                         1e-3 * static_cast<double>(std::max(clock.begin().error_ns, clock.end().error_ns))}};
}

}  // namespace sy::runtime
