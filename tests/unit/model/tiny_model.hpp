#pragma once

#include <memory>
#include <vector>

#include "comm/topology/topology.hpp"
#include "model/transformer.hpp"
#include "tests/support/session.hpp"

/// Tiny models for tests, built on a rank as a session would.
namespace sy::test {

inline model::ModelConfig tiny_model() {
    model::ModelConfig config;
    config.vocab_size = 23;
    config.hidden = 16;
    config.layers = 2;
    config.heads = 4;
    config.kv_heads = 2;
    config.ffn_width = 24;
    config.seq_len = 12;
    config.init_std = 0.2;
    return config;
}

inline model::MoeConfig tiny_moe() {
    model::MoeConfig moe;
    moe.layers = "1";
    moe.experts = 5;
    moe.top_k = 2;
    moe.expert_width = 8;
    moe.shared_experts = 1;
    moe.balance.switch_loss = 0.05;
    moe.balance.z_loss = 0.01;
    return moe;
}

/// Ids of random sequences that do not depend on who asks.
inline std::vector<std::int32_t> tokens(index_t first_sequence, index_t count,
                                        const model::ModelConfig& config) {
    std::vector<std::int32_t> ids;
    for (index_t i = first_sequence * (config.seq_len + 1);
         i < (first_sequence + count) * (config.seq_len + 1); ++i) {
        const float u = uniform({77, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(i));
        ids.push_back(static_cast<std::int32_t>(u * static_cast<float>(config.vocab_size)));
    }
    return ids;
}

/// One rank of a run: everything a model needs, built as a session would.
struct Rank {
    TestSession session;
    comm::GridCommunicators groups;
    std::unique_ptr<comm::Exchange> exchange;
    model::DropLedger drops;
    model::ModelWorld world;
    model::Parameters parameters;
    model::Transformer transformer;

    Rank(comm::Communicator& ranks, int expert_parallel, NumericsMode numerics,
         const model::ModelConfig& config, const model::MoeConfig& moe,
         comm::ExchangeKind kind = comm::ExchangeKind::flat, std::unique_ptr<CpuDevice> device = nullptr)
        : session(device ? TestSession(std::move(device), numerics) : TestSession(1, numerics)),
          groups(comm::split_grid(ranks, comm::make_process_grid(ranks.size(), expert_parallel))),
          exchange(comm::make_exchange(kind, *groups.expert_group,
                                       comm::discover_topology(*groups.expert_group), session.context)),
          world{ranks, *exchange, groups.expert_group.get(), &drops},
          parameters(model::blueprint(config, moe),
                     comm::block_placements(model::moe_blocks(moe, config), moe.experts,
                                            groups.expert_group->size()),
                     groups.expert_group->rank(), config.dtype, session.context),
          transformer(config, moe, parameters, world, 5) {
        parameters.allocate(5);
    }
};

}  // namespace sy::test
