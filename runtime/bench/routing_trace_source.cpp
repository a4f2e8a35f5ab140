#include "runtime/bench/routing_trace_source.hpp"

#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/train/routing_trace_file.hpp"

namespace sy::runtime::bench {
namespace {

/// The rows of some tokens of a [T, K] array.
template <class T>
std::vector<T> rows_of(const std::vector<T>& values, Range tokens, index_t top_k) {
    return {values.begin() + tokens.begin * top_k, values.begin() + tokens.end * top_k};
}

}  // namespace

std::vector<RecordedMixture> read_recorded_mixtures(const std::string& path, comm::Communicator& world) {
    RoutingTrace trace;
    detail::fail_on_all_ranks(world, "reading a routing trace failed",
                              [&] { trace = read_routing_trace(path); });
    std::vector<RecordedMixture> mixtures;
    for (const model::RoutingRecord& whole : trace.mixtures) {
        const Range tokens = part_of(whole.num_tokens, world.size(), world.rank());
        mixtures.push_back(
            {concat("step ", trace.step, ".", whole.micro_step, ", layer ", whole.layer),
             whole.num_tokens,
             trace.experts,
             trace.hidden,
             {whole.micro_step, whole.layer, tokens.size(), whole.top_k,
              rows_of(whole.expert, tokens, whole.top_k), rows_of(whole.weight, tokens, whole.top_k),
              rows_of(whole.kept, tokens, whole.top_k)}});
    }
    return mixtures;
}

}  // namespace sy::runtime::bench
