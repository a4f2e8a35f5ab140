#include "runtime/train/tracer.hpp"

#include "comm/collectives.hpp"
#include "runtime/telemetry/records.hpp"
#include "runtime/train/trace_file.hpp"

namespace sy::runtime {

std::filesystem::path trace_path(const std::filesystem::path& run, const TracedSteps& steps) {
    return run / concat("trace-", steps.first, "-", steps.last, ".json");
}

Tracer::Tracer(Session& session)
    : session_(session), steps_(parse_traced_steps(session.config().telemetry.trace)) {}

void Tracer::begin(index_t step) {
    if (!steps_.contain(step)) return;
    TraceLog& log = session_.trace();
    if (!log.is_open()) {
        begin_ = measure_clock(session_.world());
        log.open([this] { return session_.waited_seconds(); });
        first_step_ = step;
    }
    log.set_step(step);
}

void Tracer::end(index_t step, bool last) {
    if (session_.trace().is_open() && (last || step >= steps_.last)) write(step);
}

void Tracer::write(index_t last_step) {
    TraceLog& log = session_.trace();
    comm::Communicator& world = session_.world();
    const AlignedClock clock(begin_, measure_clock(world));
    // Rank 0's clock when it began.
    std::int64_t origin = begin_.at_ns;
    comm::broadcast(world, std::span<std::int64_t>(&origin, 1), 0);
    const RankTrace mine{
        {world.rank(), host_name(), clock, origin}, log.events(), log.background_events(), log.num_dropped()};
    log.close();
    const TracedSteps steps{first_step_, last_step};
    write_trace(world, trace_path(session_.config().run.directory, steps), mine,
                {{"first_step", steps.first}, {"last_step", steps.last}, {"layout", session_.layout()}});
}

}  // namespace sy::runtime
