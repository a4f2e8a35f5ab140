#pragma once

#include <array>
#include <string>

#include "model/config.hpp"

/// How the loss of a routed model falls with its size and its number of experts.
/// @par Source  Clark et al., arXiv:2202.01169, equations 1 to 4 and table 3; logarithms to the base 10
namespace sy::runtime {

/// log L = a log N + b log E' + c log N log E' + d.
struct RoutedLaw {
    const char* router;
    double a, b, c, d;
    double experts_start;  ///< what a dense model counts as
    double experts_max;    ///< to which E' saturates
};

/// The law is as fitted to models of 15 million to 1.3 billion parameters and up to 512 experts, of which a token
/// visits one.
inline constexpr std::array kRoutedLaws{
    RoutedLaw{"S-BASE", -0.082, -0.108, 0.009, 1.104, 1.847, 314.478},
    RoutedLaw{"RL-R", -0.083, -0.126, 0.012, 1.111, 1.880, 469.982},
    RoutedLaw{"Hash", -0.087, -0.136, 0.012, 1.157, 4.175, 477.741},
};

/// E': from experts_start at one expert to experts_max at infinitely many.
/// 1 / E' = 1 / (E - 1 + 1 / (1 / start - 1 / max)) + 1 / max
double saturated_experts(const RoutedLaw& law, double experts);

/// Cross entropy in nats of a model of N dense parameters whose mixtures have E experts.
double predicted_loss(const RoutedLaw& law, double dense_parameters, double experts);

/// Parameters of the dense model (E = 1) of the same loss: the paper's effective parameter count.
double effective_parameters(const RoutedLaw& law, double dense_parameters, double experts);

/// N of a model: what a token uses, without embedding, head and routers.
double dense_parameters(const model::ModelConfig& model, const model::MoeConfig& moe);

/// The laws at a model's N over numbers of experts, its own among them, for people.
std::string scaling_law_text(const model::ModelConfig& model, const model::MoeConfig& moe);

}  // namespace sy::runtime
