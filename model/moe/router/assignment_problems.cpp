#include "kernels/core/problems.hpp"
#include "model/moe/router/problems.hpp"

namespace sy::model {
namespace {

/// Problems of a model with this router: sentences begin with "moe.router = NAME ".
class RouterProblems {
  public:
    explicit RouterProblems(const MoeConfig& moe) : router_(moe.router) {}
    template <class... Pieces>
    void require(bool good, const Pieces&... rest) {
        found_.require(good, "moe.router = ", router_, " ", rest...);
    }
    std::vector<std::string> take() { return found_.take(); }

  private:
    std::string router_;
    Problems found_;
};

/// Rules that keep the load even by themselves: a loss that pushes as well has nothing to say.
void require_no_balance_loss(RouterProblems& problems, const BalanceConfig& balance) {
    problems.require(balance.switch_loss == 0.0,
                     "balances the load by its choice, and balance.switch_loss = ", balance.switch_loss,
                     "; set it to 0");
}

/// Options of rules that let a token pick its best scores.
void require_no_token_choice(RouterProblems& problems, const MoeConfig& moe) {
    problems.require(moe.group_limit == 0,
                     "chooses among all experts, and moe.group_limit = ", moe.group_limit, "; set it to 0");
    problems.require(!moe.random_second, "has no second choice to leave to chance; set moe.random_second=no");
    problems.require(moe.balance.bias_rate == 0.0,
                     "selects without a bias, and balance.bias_rate = ", moe.balance.bias_rate,
                     "; set it to 0");
}

void expert_choice_problems(RouterProblems& problems, const ModelConfig& model, const MoeConfig& moe) {
    require_no_balance_loss(problems, moe.balance);
    problems.require(
        model.architecture == Architecture::encoder || moe.allow_noncausal,
        "lets experts choose among later tokens, which a decoder must not see; use another router, or "
        "set moe.allow_noncausal=yes for a model that is not to generate");
    problems.require(moe.score == Score::softmax,
                     "takes the softmax over the experts; set moe.score=softmax");
    problems.require(moe.device_capacity == 0.0,
                     "drops no choices, and moe.device_capacity = ", moe.device_capacity, "; set it to 0");
    problems.require(moe.capacity_factor == 0.0,
                     "fills every expert exactly, and moe.capacity_factor = ", moe.capacity_factor,
                     "; set it to 0");
}

void base_problems(RouterProblems& problems, const MoeConfig& moe) {
    require_no_balance_loss(problems, moe.balance);
    problems.require(moe.top_k == 1, "assigns one expert to a token, and moe.top_k = ", moe.top_k,
                     "; set it to 1");
}

void reinforce_problems(RouterProblems& problems, const ModelConfig& model, const MoeConfig& moe) {
    problems.require(
        model.architecture == Architecture::decoder,
        "is rewarded by the loss of every token, which only a decoder has; use a decoder or another router");
    problems.require(moe.score == Score::softmax, "is a policy softmax(logits); set moe.score=softmax");
    problems.require(
        moe.noise == LogitNoise::none,
        "explores by drawing its experts; noise would draw from another policy than it learns: set "
        "moe.noise=none");
}

}  // namespace

std::vector<std::string> assignment_problems(const ModelConfig& model, const MoeConfig& moe) {
    RouterProblems problems(moe);
    const bool ours = moe.router == "expert_choice" || moe.router == "base" || moe.router == "sinkhorn" ||
                      moe.router == "reinforce";
    if (ours) require_no_token_choice(problems, moe);
    problems.require(moe.router == "reinforce" || moe.balance.entropy_bonus == 0.0,
                     "has no policy, and balance.entropy_bonus = ", moe.balance.entropy_bonus,
                     "; set it to 0, or moe.router=reinforce");
    if (moe.router == "expert_choice") expert_choice_problems(problems, model, moe);
    if (moe.router == "base") base_problems(problems, moe);
    if (moe.router == "sinkhorn") require_no_balance_loss(problems, moe.balance);
    if (moe.router == "reinforce") reinforce_problems(problems, model, moe);
    return problems.take();
}

}  // namespace sy::model
