#include "model/moe/expert_dropout.hpp"

#include "comm/collectives.hpp"

namespace sy::model {

std::vector<index_t> expert_dropout_rows(const comm::ReceivePlan& receive, const PassInfo& pass,
                                         IndexedSpan<comm::LocalExpertAxis, const index_t> local_experts,
                                         index_t num_experts, comm::Communicator& expert_group) {
    const comm::PerRank<index_t> first_token(
        comm::all_gather(expert_group, std::span<const index_t>(&pass.batch.first_token, 1)));
    std::vector<index_t> rows;
    for (const comm::SlotChunk& chunk : receive.chunks) {
        index_t s = chunk.slots.begin;
        for (index_t local = 0; local < local_experts.size(); ++local) {
            for (; s < chunk.slots.begin + chunk.experts[local].end; ++s) {
                const index_t token = first_token[receive.slot_source[s]] + receive.slot_token[s];
                rows.push_back(token * num_experts + local_experts[local]);
            }
        }
    }
    return rows;
}

}  // namespace sy::model
