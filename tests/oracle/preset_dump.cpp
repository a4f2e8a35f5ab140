// Prints every preset as a line of JSON: its name, its settings, and how many parameters they make.
#include <cstdio>

#include "model/families/preset.hpp"
#include "runtime/config/config.hpp"
#include "runtime/json/json.hpp"

int main() {
    for (const sy::model::Preset& preset : sy::model::presets()) {
        sy::runtime::Config config;
        config.model = preset.model;
        config.moe = preset.moe;
        const sy::model::ModelSize size = sy::model::model_size(preset.model, preset.moe);
        const sy::runtime::Json line = sy::runtime::Json::Object{
            {"name", preset.name},
            {"parameters", size.total_parameters - size.mtp_parameters},
            {"beyond", preset.beyond_parameters},
            {"config", sy::runtime::Json::parse(sy::runtime::dump_json(config))},
        };
        std::printf("%s\n", line.text().c_str());
    }
}
