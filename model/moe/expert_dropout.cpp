#include "model/moe/expert_dropout.hpp"

#include "comm/collectives.hpp"

namespace sy::model {

std::vector<index_t> expert_dropout_rows(const comm::ReceivePlan& receive, const PassInfo& pass,
                                         std::span<const index_t> local_experts, index_t num_experts,
                                         comm::Communicator& expert_group) {
    const std::vector<index_t> first_token =
        comm::all_gather(expert_group, std::span<const index_t>(&pass.batch.first_token, 1));
    std::vector<index_t> rows;
    rows.reserve(receive.slot_token.size());
    for (std::size_t local = 0; local + 1 < receive.expert_offsets.size(); ++local) {
        for (index_t slot = receive.expert_offsets[local]; slot < receive.expert_offsets[local + 1]; ++slot) {
            const auto s = static_cast<std::size_t>(slot);
            const index_t token =
                first_token[static_cast<std::size_t>(receive.slot_source[s])] + receive.slot_token[s];
            rows.push_back(token * num_experts + local_experts[local]);
        }
    }
    return rows;
}

}  // namespace sy::model
