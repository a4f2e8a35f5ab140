#pragma once

#include <string>
#include <vector>

#include "runtime/config/config.hpp"

namespace sy::runtime {

/// What it means that settings are not those of a checkpoint, a sentence for each, with both values.
struct SettingDifferences {
    std::vector<std::string> problems;        ///< the checkpoint's weights are of another model
    std::vector<std::string> notes;           ///< what differs whatever the checkpoint is used for
    std::vector<std::string> training_notes;  ///< what differs when training goes on
};

/// The settings as a checkpoint holds them; what it does not set is the default. Those that this program does not know
/// belong to whoever wrote it, and are left out.
struct SavedSettings {
    Config config;
    /// Values that this program refuses, of settings that decide what the weights mean: a sentence for each.
    std::vector<std::string> problems;
};
SavedSettings saved_settings(const std::string& text);

/// Compares every setting. Which ones may differ is one table, in differences.cpp. Where values could not be read, they
/// are all that is told.
SettingDifferences compare_settings(const SavedSettings& saved, const Config& config);

}  // namespace sy::runtime
