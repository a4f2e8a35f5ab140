#include <iostream>

#include "runtime/cli/command_line.hpp"
#include "runtime/report/scaling_export.hpp"
#include "runtime/report/scaling_page.hpp"
#include "runtime/report/scaling_simulation.hpp"
#include "runtime/report/scaling_table.hpp"

namespace sy::runtime {
namespace {

const ScalingTask& find_task(const ScalingStudy& study, const std::string& number) {
    for (const ScalingTask& task : study.tasks) {
        if (std::to_string(task.number) == number) return task;
    }
    throw ConfigError(concat("scaling: the study has no task ", number));
}

std::vector<ScalingSeries> measured_series(const ScalingStudy& study, const std::filesystem::path& folder) {
    std::vector<ScalingSeries> series = scaling_series(study);
    if (series.empty())
        throw IoError(
            concat("scaling: no run of ", folder.string(), " is done; run jobs/scaling/study again"));
    return series;
}

}  // namespace

int run_scaling_command(const Arguments& arguments) {
    const std::string& action = arguments.words[0];
    const std::filesystem::path folder = arguments.words[1];
    if ((action == "measure") != (arguments.words.size() == 3))
        throw ConfigError(
            "scaling: measure takes FOLDER and TASK, the other actions take FOLDER; see "
            "switchyard help scaling");
    const ScalingStudy study = read_scaling_study(folder);
    if (action == "measure") {
        const ScalingTask& task = find_task(study, arguments.words[2]);
        std::cout << to_line(measure_run(folder / "runs" / task.name(), task, study.warmup_steps)) << "\n";
    } else if (action == "todo") {
        for (const ScalingTask& task : study.missing) std::cout << task.number << "\n";
    } else if (action == "lines") {
        print_lines(std::cout, measured_series(study, folder));
    } else if (action == "simulations") {
        std::vector<std::string> unknown;
        for (const std::string& line : simulations(study, measured_series(study, folder), unknown))
            std::cout << line << "\n";
        for (const std::string& series : unknown) std::cerr << "not simulated: " << series << "\n";
    } else if (action == "report") {
        const std::vector<ScalingSeries> series = measured_series(study, folder);
        write_scaling_files(folder, study, series);
        write_page(folder / "report.html", scaling_page(study, series));
        print_scaling_tables(std::cout, study, series);
    } else {
        throw ConfigError(concat("scaling: unknown action '", action, "'; see switchyard help scaling"));
    }
    return 0;
}

}  // namespace sy::runtime
