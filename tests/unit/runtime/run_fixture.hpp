#pragma once

#include <fstream>
#include <string>

#include "comm/local/local_fabric.hpp"
#include "runtime/train/train.hpp"
#include "tests/unit/runtime/test_folder.hpp"

/// A small run, on ranks that are threads.
namespace sy::test {

inline runtime::Config small_config(const TestFolder& folder,
                                    NumericsMode numerics = NumericsMode::reproducible) {
    std::ofstream text(folder / "text.txt");
    for (int i = 0; i < 400; ++i)
        text << "the " << i * i % 97 << " wagons are sorted onto track " << i % 7 << "\n";
    runtime::Config config;
    config.model.hidden = 16;
    config.model.layers = 2;
    config.model.heads = 2;
    config.model.kv_heads = 1;
    config.model.seq_len = 16;
    config.moe.experts = 5;
    config.moe.expert_width = 8;
    config.moe.capacity_factor = 1.0;
    config.moe.jitter = 0.05;
    config.train.steps = 8;
    config.train.global_batch = 6;
    config.train.accumulation = 2;
    config.train.eval_every = 0;
    config.optimizer.warmup_steps = 2;
    config.data.path = (folder / "text.txt").string();
    config.run.directory = (folder / "run").string();
    config.run.log_every = 1000;
    config.parallel.threads = 1;
    config.numerics = numerics;
    return config;
}

/// Trains on `ranks` ranks. @return validation loss at the end, which depends on every weight
inline double train_on(int ranks, const runtime::Config& config, const std::string& resume) {
    double loss = 0.0;
    comm::LocalFabric(ranks).run([&](comm::Communicator& world) {
        runtime::Session session(config, world);
        runtime::train(session, resume, [] { return false; });
        const runtime::Corpus corpus(config);
        const double result = runtime::validation_loss(session, corpus).loss;
        if (world.rank() == 0) loss = result;
        session.close();
    });
    return loss;
}

}  // namespace sy::test
