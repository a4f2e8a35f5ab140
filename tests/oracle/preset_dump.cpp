// Prints every preset as a line of JSON: its name, its settings, and how many parameters they make.
#include <boost/json.hpp>
#include <cstdio>

#include "model/families/preset.hpp"
#include "runtime/config/config.hpp"

int main() {
    for (const sy::model::Preset& preset : sy::model::presets()) {
        sy::runtime::Config config;
        config.model = preset.model;
        config.moe = preset.moe;
        const sy::model::ModelSize size = sy::model::model_size(preset.model, preset.moe);
        const boost::json::object line{
            {"name", preset.name},
            {"parameters", size.total_parameters - size.mtp_parameters},
            {"beyond", preset.beyond_parameters},
            {"config", boost::json::parse(sy::runtime::dump_json(config))},
        };
        std::printf("%s\n", boost::json::serialize(line).c_str());
    }
}
