#include "runtime/train/routing_trace.hpp"

#include <algorithm>
#include <utility>

#include "runtime/checkpoint/agree.hpp"
#include "runtime/checkpoint/files.hpp"
#include "runtime/train/gather.hpp"

namespace sy::runtime {
namespace {

using model::RoutingRecord;

constexpr int kTraceTag = 2901;
constexpr const char* kDoing = "gathering of a routing trace";

/// What rank 0 has to know about a mixture of a rank.
struct Header {
    index_t micro_step;
    index_t layer;
    index_t num_tokens;
    index_t top_k;
};

/// One array of all mixtures of all ranks, as it comes: by rank, then by mixture.
template <class T>
class Gathered {
  public:
    Gathered(comm::Communicator& world, std::span<const RoutingRecord> mine,
             std::vector<T> RoutingRecord::*field, T missing)
        : field_(field), missing_(missing) {
        std::vector<T> values;
        for (const RoutingRecord& record : mine)
            values.insert(values.end(), (record.*field).begin(), (record.*field).end());
        values_ = gather_on_rank_0<T>(world, values, kTraceTag, kDoing);
    }

    /// Appends the next mixture's values; where all ranks together have more choices a token, the rest is missing.
    void append_next(const Header& header, RoutingRecord& whole) {
        std::vector<T>& to = whole.*field_;
        for (index_t token = 0; token < header.num_tokens; ++token) {
            const auto from = values_.begin() + next_;
            to.insert(to.end(), from, from + header.top_k);
            to.insert(to.end(), static_cast<std::size_t>(whole.top_k - header.top_k), missing_);
            next_ += header.top_k;
        }
    }

  private:
    std::vector<T> RoutingRecord::*field_;
    T missing_;
    std::vector<T> values_;
    index_t next_ = 0;
};

}  // namespace

std::vector<RoutingRecord> gather_routing(comm::Communicator& world, std::span<const RoutingRecord> mine) {
    std::vector<Header> own;
    for (const RoutingRecord& record : mine)
        own.push_back({record.micro_step, record.layer, record.num_tokens, record.top_k});
    const std::vector<Header> headers = gather_on_rank_0<Header>(world, own, kTraceTag, kDoing);
    Gathered<std::int32_t> expert(world, mine, &RoutingRecord::expert, -1);
    Gathered<float> weight(world, mine, &RoutingRecord::weight, 0.0F);
    Gathered<std::uint8_t> kept(world, mine, &RoutingRecord::kept, 0);
    if (world.rank() != 0) return {};
    SY_REQUIRE(headers.size() == mine.size() * static_cast<std::size_t>(world.size()), kDoing, ": ",
               headers.size(), " mixtures on ", world.size(), " ranks, ", mine.size(), " on rank 0");
    std::vector<RoutingRecord> all(mine.size());
    for (std::size_t i = 0; i < headers.size(); ++i) {
        RoutingRecord& whole = all[i % all.size()];
        whole.micro_step = headers[i].micro_step;
        whole.layer = headers[i].layer;
        whole.num_tokens += headers[i].num_tokens;
        whole.top_k = std::max(whole.top_k, headers[i].top_k);
    }
    for (std::size_t i = 0; i < headers.size(); ++i) {
        expert.append_next(headers[i], all[i % all.size()]);
        weight.append_next(headers[i], all[i % all.size()]);
        kept.append_next(headers[i], all[i % all.size()]);
    }
    return all;
}

std::filesystem::path routing_trace_path(const std::filesystem::path& run, index_t step) {
    return run / "routing" / detail::numbered("step-", step, 8, ".h5");
}

void RoutingTracer::begin(index_t step) {
    session_.routing_log().open = is_chosen_step(session_.config().telemetry.routing_trace, step);
}

void RoutingTracer::write(index_t step) {
    model::RoutingLog& log = session_.routing_log();
    if (!std::exchange(log.open, false)) return;
    const std::vector<RoutingRecord> mine = std::exchange(log.records, {});
    // A model without mixtures has no routing, on any rank.
    if (mine.empty()) return;
    const Config& config = session_.config();
    RoutingTrace trace{step, config.moe.experts, config.model.hidden, gather_routing(session_.world(), mine)};
    decided_by_rank_0(session_.world(), [&] {
        write_routing_trace(routing_trace_path(config.run.directory, step), trace);
        return std::string();
    });
}

}  // namespace sy::runtime
