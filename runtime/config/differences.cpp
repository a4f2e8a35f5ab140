#include "runtime/config/differences.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "runtime/config/config_file.hpp"
#include "runtime/config/option.hpp"

namespace sy::runtime {
namespace {

/// When a setting that differs is worth a word.
enum class Matters { never, in_training, always };

/// A setting that may differ from the checkpoint's, or all of a section ("run.").
struct MayDiffer {
    std::string_view name;
    Matters when;
    std::string_view effect;
};

/// Every setting that is not here decides what the weights mean, and is refused when it differs.
constexpr std::array kMayDiffer{
    MayDiffer{"model.recompute", Matters::never, ""},
    MayDiffer{"model.init_std", Matters::never, ""},
    MayDiffer{"model.dtype", Matters::always, "products are rounded otherwise"},
    MayDiffer{"model.seq_len", Matters::always, "the model was trained on windows of another length"},
    MayDiffer{"model.dropout", Matters::in_training, "what is learned from differs"},
    MayDiffer{"model.output_z_loss", Matters::in_training, "another loss is minimised"},
    MayDiffer{"model.mtp_loss", Matters::in_training, "another loss is minimised"},
    MayDiffer{"attention.dropout", Matters::in_training, "what is learned from differs"},
    MayDiffer{"position.rope_scaling", Matters::always, "positions are stretched otherwise than in training"},
    MayDiffer{"position.rope_factor", Matters::always, "positions are stretched otherwise than in training"},
    MayDiffer{"position.rope_original_len", Matters::always,
              "positions are stretched otherwise than in training"},
    MayDiffer{"moe.allow_noncausal", Matters::never, ""},
    MayDiffer{"moe.router_dtype", Matters::always, "logits of routers are rounded otherwise"},
    MayDiffer{"moe.wire", Matters::always, "rows between tokens and experts are rounded otherwise"},
    MayDiffer{"moe.capacity_factor", Matters::always, "other choices are dropped"},
    MayDiffer{"moe.eval_capacity_factor", Matters::always, "validation drops other choices"},
    MayDiffer{"moe.min_capacity", Matters::always, "other choices are dropped"},
    MayDiffer{"moe.capacity_scope", Matters::always, "other choices are dropped"},
    MayDiffer{"moe.drop_by", Matters::always, "other choices are dropped"},
    MayDiffer{"moe.device_capacity", Matters::always, "other choices are dropped"},
    MayDiffer{"moe.protected_fraction", Matters::always, "other choices are dropped"},
    MayDiffer{"moe.jitter", Matters::in_training, "routing has other noise"},
    MayDiffer{"moe.noise", Matters::in_training, "routing has other noise"},
    MayDiffer{"moe.noise_std", Matters::in_training, "routing has other noise"},
    MayDiffer{"moe.random_second", Matters::in_training, "routing has other noise"},
    MayDiffer{"moe.expert_dropout", Matters::in_training, "what is learned from differs"},
    MayDiffer{"balance.", Matters::in_training, "load is balanced otherwise"},
    MayDiffer{"train.steps", Matters::in_training, "the learning rate's cosine ends there"},
    MayDiffer{
        "train.global_batch", Matters::always,
        "a step takes another number of sequences, at the same learning rate, and validation other ones"},
    MayDiffer{"train.eval_batches", Matters::always, "validation takes another number of sequences"},
    MayDiffer{"train.accumulation", Matters::always, "capacity and noise are of a micro-step, and differ"},
    MayDiffer{"train.freeze", Matters::in_training, "other parameters learn"},
    // Going on with another seed is refused by itself: what is drawn, not what weights mean, depends on it.
    MayDiffer{"train.", Matters::never, ""},
    MayDiffer{"optimizer.", Matters::in_training, "steps differ from now on"},
    // Going on with another text is refused by itself: its contents are compared, not its name.
    MayDiffer{"data.path", Matters::never, ""},
    // So is going on with another tokenizer: its identity is compared.
    MayDiffer{"data.tokenizer", Matters::never, ""},
    MayDiffer{"data.documents", Matters::always, "tokens see other parts of a window than in training"},
    MayDiffer{"data.changed", Matters::never, ""},
    MayDiffer{"data.validation_fraction", Matters::always,
              "other text is validated on, which may have been trained on"},
    MayDiffer{"numerics.", Matters::in_training, "what follows is not bit for bit what one mode gives"},
    MayDiffer{"parallel.device", Matters::always, "sums and products are rounded otherwise"},
    MayDiffer{"parallel.", Matters::never, ""},
    MayDiffer{"run.", Matters::never, ""},
    MayDiffer{"checkpoint.", Matters::never, ""},
    MayDiffer{"telemetry.", Matters::never, ""},
    MayDiffer{"generate.", Matters::never, ""},
    MayDiffer{"eval.", Matters::never, ""},
};

/// The first entry that is the option or its section; null where it may not differ.
const MayDiffer* find_rule(const Option& option) {
    const auto rule = std::ranges::find_if(kMayDiffer, [&](const MayDiffer& entry) {
        return entry.name == option.name || entry.name == option.section() + ".";
    });
    return rule == kMayDiffer.end() ? nullptr : &*rule;
}

}  // namespace

SavedSettings saved_settings(const std::string& text) {
    SavedSettings saved;
    std::vector<Option> options = options_of(saved.config);
    for (const Setting& setting : read_config_text(text, "the checkpoint's settings").settings) {
        const std::string name = setting.section + "." + setting.key;
        const auto option = std::ranges::find(options, name, &Option::name);
        if (option == options.end()) continue;
        if (option->set(setting.value).empty() || find_rule(*option) != nullptr) continue;
        constexpr std::size_t kMostShown = 40;
        const std::string value = setting.value.size() <= kMostShown
                                      ? concat(" = ", quote_if_needed(setting.value))
                                      : concat(" to a value of ", setting.value.size(), " bytes");
        saved.problems.push_back(
            concat("the checkpoint sets ", name, value,
                   ", which this program refuses; another version has written it, or it was altered"));
    }
    return saved;
}

SettingDifferences compare_settings(const SavedSettings& saved, const Config& config) {
    Config there = saved.config;
    Config here = config;
    const std::vector<Option> old_options = options_of(there);
    const std::vector<Option> new_options = options_of(here);
    SettingDifferences differences;
    if (!saved.problems.empty()) {
        differences.problems = saved.problems;
        return differences;
    }
    for (std::size_t i = 0; i < new_options.size(); ++i) {
        const Option& option = new_options[i];
        if (old_options[i].get() == option.get()) continue;
        const std::string before = quote_if_needed(old_options[i].get());
        const std::string values = concat(option.name, " = ", quote_if_needed(option.get()), ", ");
        const MayDiffer* const rule = find_rule(option);
        if (rule == nullptr) {
            differences.problems.push_back(concat(values, "but the checkpoint is of a model with ", before,
                                                  "; set ", option.name, " = ", before));
        } else if (rule->when != Matters::never) {
            auto& notes = rule->when == Matters::always ? differences.notes : differences.training_notes;
            notes.push_back(concat(values, before, " in the checkpoint: ", rule->effect));
        }
    }
    return differences;
}

}  // namespace sy::runtime
