#include "runtime/bench/exchange_shapes.hpp"

namespace sy::runtime::bench {

ExchangeShape exchange_shape(index_t tokens, index_t hidden, index_t top_k, index_t experts, float hot) {
    return {concat(tokens, " x ", hidden, hot > 0.0F ? ", hot" : "", ", top ", top_k, " of ", experts),
            tokens,
            hidden,
            experts,
            top_k,
            hot};
}

std::vector<ExchangeShape> quick_shapes() {
    return {exchange_shape(1, 1024, 2, 8),          exchange_shape(4, 1024, 2, 8),
            exchange_shape(16, 1024, 2, 8),         exchange_shape(512, 512, 2, 8),
            exchange_shape(4096, 512, 2, 8),        exchange_shape(4096, 512, 8, 64),
            exchange_shape(1024, 512, 8, 64, 0.3F), exchange_shape(256, 4096, 8, 64)};
}

std::vector<ExchangeShape> full_shapes() {
    std::vector<ExchangeShape> shapes;
    for (const index_t hidden : {256, 1024, 4096}) {
        for (const index_t tokens : {1, 4, 16, 256, 4096, 16384}) {
            for (const auto& [top_k, experts] : {std::pair{2, 8}, {8, 64}}) {
                shapes.push_back(exchange_shape(tokens, hidden, top_k, experts));
                // A few tokens are never even.
                if (tokens >= 256) shapes.push_back(exchange_shape(tokens, hidden, top_k, experts, 0.3F));
            }
        }
    }
    return shapes;
}

ExchangeShape shape_of(const Config& config, int num_ranks) {
    const index_t sequences = config.train.global_batch / config.train.accumulation;
    const index_t tokens = (sequences + num_ranks - 1) / num_ranks * config.model.seq_len;
    return exchange_shape(tokens, config.model.hidden, config.moe.top_k, config.moe.experts);
}

}  // namespace sy::runtime::bench
