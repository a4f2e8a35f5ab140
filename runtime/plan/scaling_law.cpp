#include "runtime/plan/scaling_law.hpp"

#include <cmath>
#include <iomanip>
#include <set>
#include <sstream>

#include "runtime/plan/units.hpp"

namespace sy::runtime {
namespace {

double log_loss(const RoutedLaw& law, double log_size, double log_experts) {
    return law.a * log_size + law.b * log_experts + law.c * log_size * log_experts + law.d;
}

}  // namespace

double saturated_experts(const RoutedLaw& law, double experts) {
    const double shift = 1.0 / (1.0 / law.experts_start - 1.0 / law.experts_max);
    return 1.0 / (1.0 / (experts - 1.0 + shift) + 1.0 / law.experts_max);
}

double predicted_loss(const RoutedLaw& law, double dense_parameters, double experts) {
    return std::pow(10.0,
                    log_loss(law, std::log10(dense_parameters), std::log10(saturated_experts(law, experts))));
}

double effective_parameters(const RoutedLaw& law, double dense_parameters, double experts) {
    const double loss =
        log_loss(law, std::log10(dense_parameters), std::log10(saturated_experts(law, experts)));
    const double log_start = std::log10(law.experts_start);
    // The law at E' = start, solved for log N.
    return std::pow(10.0, (loss - law.d - law.b * log_start) / (law.a + law.c * log_start));
}

double dense_parameters(const model::ModelConfig& model, const model::MoeConfig& moe) {
    // A hash has no parameters, and experts that nobody visits do not count.
    model::MoeConfig without = moe;
    without.router = "hash";
    without.noise = model::LogitNoise::none;
    const index_t ends = model.vocab_size * model.hidden * (model.tied_head ? 1 : 2);
    return static_cast<double>(model::model_size(model, without).active_parameters - ends);
}

std::string scaling_law_text(const model::ModelConfig& model, const model::MoeConfig& moe) {
    const double size = dense_parameters(model, moe);
    const bool routed = model::model_size(model, moe).expert_parameters > 0;
    const index_t own_experts = routed ? moe.experts : 1;
    std::ostringstream text;
    text << "Predicted loss (nats), and parameters of the dense model that reaches it, for "
         << with_prefix(size, "") << " parameters besides\nembedding, head and routers "
         << "(Clark et al., arXiv:2202.01169)\n  " << std::right << std::setw(8) << "experts";
    for (const RoutedLaw& law : kRoutedLaws) text << std::setw(10) << law.router << std::setw(12) << "equals";
    text << "\n";
    std::set<index_t> counts{own_experts};
    for (index_t experts = 1; experts <= 512; experts *= 2) counts.insert(experts);
    for (const index_t experts : counts) {
        text << (experts == own_experts ? "* " : "  ") << std::setw(8) << experts;
        for (const RoutedLaw& law : kRoutedLaws) {
            const auto count = static_cast<double>(experts);
            text << std::fixed << std::setprecision(3) << std::setw(10) << predicted_loss(law, size, count)
                 << std::setw(12) << with_prefix(effective_parameters(law, size, count), "");
        }
        text << "\n";
    }
    text << "* this model. The laws were fitted to one expert a token";
    if (routed && moe.top_k != 1) text << " (here " << moe.top_k << ")";
    text << ", 15 million to 1.3 billion parameters, 2 to 512 experts";
    if (size < 15e6 || size > 1.3e9 || own_experts > 512) text << ": this model lies outside";
    text << ".\n";
    return text.str();
}

}  // namespace sy::runtime
