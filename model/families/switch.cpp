#include "model/families/lineages.hpp"

namespace sy::model {
namespace {

MoeConfig switch_moe(const char* layers, index_t experts, index_t expert_width) {
    MoeConfig moe;
    moe.layers = layers;
    set_sizes(moe, {.experts = experts, .top_k = 1, .expert_width = expert_width});
    moe.renormalise = false;
    moe.jitter = 0.01;
    moe.capacity_factor = 1.25;
    moe.balance.z_loss = 0.0;
    return moe;
}

}  // namespace

/// Fedus et al., arXiv:2101.03961, table 9; config.json of google/switch-base-8, the smallest that was released.
std::vector<Preset> switch_presets() {
    Preset small{.name = "switch-base-8",
                 .source = "arXiv:2101.03961",
                 .model = t5_model(768, 12, 12, 64, 3072),
                 .moe = switch_moe("every:2", 8, 3072),
                 .total = {619'339'008.0, 0}};
    Preset base{.name = "switch-base",
                .source = "arXiv:2101.03961",
                .model = t5_model(768, 12, 12, 64, 2048),
                .moe = switch_moe("every:2", 128, 2048),
                .total = {7.4e9, 2},
                .beyond = "whether its head is tied is not said; here it is not, as in T5 1.1"};
    base.model.activation = Activation::geglu_tanh;
    base.model.tied_head = false;
    base.model.logit_scale = 1.0;
    Preset c{.name = "switch-c",
             .source = "arXiv:2101.03961",
             .model = t5_model(2080, 15, 32, 64, 6144),
             .moe = switch_moe("all", 2048, 6144),
             .total = {1571e9, 4},
             .beyond = "whether its head is tied is not said; here it is"};
    return {small, base, c};
}

}  // namespace sy::model
