#include "model/moe/router/problems.hpp"

#include <span>
#include <utility>

#include "kernels/core/problems.hpp"

namespace sy::model {
namespace {

void group_problems(const MoeConfig& moe, Problems& problems) {
    const bool limited = moe.router == "group_limited";
    const BalanceConfig& balance = moe.balance;
    if (!limited && balance.device_loss == 0.0 && balance.communication_loss == 0.0) return;
    const char* const who = limited                      ? "moe.router = group_limited"
                            : balance.device_loss != 0.0 ? "balance.device_loss"
                                                         : "balance.communication_loss";
    if (moe.groups < 1) {
        problems.add(who,
                     " needs moe.groups: a default from the number of ranks would make the "
                     "result depend on it; set a divisor of moe.experts = ",
                     moe.experts);
        return;
    }
    problems.require(moe.experts % moe.groups == 0, "moe.groups = ", moe.groups,
                     " does not divide moe.experts = ", moe.experts, "; use a divisor");
    if (!limited && balance.communication_loss == 0.0) return;
    if (moe.group_limit < 1 || moe.group_limit > moe.groups) {
        problems.add("moe.group_limit = ", moe.group_limit, " is not 1 to moe.groups = ", moe.groups,
                     "; set how many groups a token may reach");
        return;
    }
    if (!limited) return;
    problems.require(moe.top_k <= moe.group_limit * (moe.experts / moe.groups), "moe.top_k = ", moe.top_k,
                     " is more than the ", moe.group_limit * (moe.experts / moe.groups),
                     " experts of moe.group_limit = ", moe.group_limit,
                     " groups; lower it or raise the limit");
    problems.require(moe.group_score != GroupScore::top_sum || moe.top_k % moe.group_limit == 0,
                     "moe.group_score = top_sum adds up moe.top_k / moe.group_limit scores, but ",
                     moe.group_limit, " does not divide ", moe.top_k, "; change one, or use highest");
}

/// A table has no scores: nothing may be added to them, learn from them or choose among them.
void hash_problems(const MoeConfig& moe, Problems& problems) {
    if (moe.router != "hash") return;
    const BalanceConfig& balance = moe.balance;
    const auto refuse = [&](std::span<const std::pair<bool, const char*>> asked, const char* why) {
        std::string remedy;
        for (const auto& [is_set, text] : asked) {
            if (is_set) remedy += (remedy.empty() ? "" : ", ") + std::string(text);
        }
        problems.require(remedy.empty(), "moe.router = hash ", why, "; set ", remedy);
    };
    const std::pair<bool, const char*> losses[] = {
        {balance.switch_loss != 0.0, "balance.switch_loss = 0"},
        {balance.z_loss != 0.0, "balance.z_loss = 0"},
        {balance.importance_loss != 0.0, "balance.importance_loss = 0"},
        {balance.load_loss != 0.0, "balance.load_loss = 0"},
        {balance.device_loss != 0.0, "balance.device_loss = 0"},
        {balance.communication_loss != 0.0, "balance.communication_loss = 0"},
        {balance.sequence_loss != 0.0, "balance.sequence_loss = 0"}};
    refuse(losses, "has no scores that a loss could steer");
    const std::pair<bool, const char*> options[] = {{moe.noise != LogitNoise::none, "moe.noise = none"},
                                                    {moe.jitter != 0.0, "moe.jitter = 0"},
                                                    {moe.random_second, "moe.random_second = no"},
                                                    {moe.group_limit != 0, "moe.group_limit = 0"},
                                                    {balance.bias_rate != 0.0, "balance.bias_rate = 0"}};
    refuse(options, "looks experts up in a fixed table, without logits");
}

void chance_problems(const MoeConfig& moe, Problems& problems) {
    problems.require(moe.noise != LogitNoise::learned || (moe.score == Score::softmax && moe.renormalise),
                     "moe.noise = learned weighs by the softmax over the chosen; set moe.score = softmax and "
                     "moe.renormalise = yes");
    problems.require(moe.balance.load_loss == 0.0 || moe.noise == LogitNoise::learned,
                     "balance.load_loss measures chances of learned noise; set moe.noise = learned, or "
                     "balance.load_loss = 0");
    problems.require(
        moe.balance.load_loss == 0.0 || moe.top_k < moe.experts,
        "balance.load_loss needs experts that are not chosen; set moe.top_k below moe.experts = ",
        moe.experts);
    problems.require(!moe.random_second || moe.top_k == 2,
                     "moe.random_second draws the second of two choices, but moe.top_k = ", moe.top_k,
                     "; set moe.top_k = 2 or moe.random_second = no");
}

}  // namespace

UsefulLosses useful_losses(const std::string& router) {
    if (router == "hash") return {false, false};
    return {router != "expert_choice" && router != "base" && router != "sinkhorn", true};
}

std::vector<std::string> routing_problems(const MoeConfig& moe) {
    Problems problems;
    group_problems(moe, problems);
    hash_problems(moe, problems);
    chance_problems(moe, problems);
    return problems.take();
}

}  // namespace sy::model
