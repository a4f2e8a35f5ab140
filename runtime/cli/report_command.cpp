#include <iostream>
#include <set>

#include "runtime/cli/command_line.hpp"
#include "runtime/report/table.hpp"
#include "runtime/report/training_page.hpp"

namespace sy::runtime {

int run_report_command(const Arguments& arguments) {
    std::vector<RunRow> rows;
    std::set<std::string> names;
    for (const std::string& folder : arguments.words) {
        rows.push_back(read_row(folder));
        if (!names.insert(rows.back().name).second) {
            throw ConfigError(concat("report: two folders are called ", rows.back().name,
                                     ", and rows are told apart by that; rename or link one"));
        }
    }
    if (arguments.json) {
        print_json(std::cout, rows);
    } else {
        print_table(std::cout, rows);
        std::cout << remark(rows) << "\n";
    }
    if (!arguments.data.empty()) write_data(arguments.data, rows);
    if (!arguments.html.empty()) write_training_page(arguments.html, rows);
    return 0;
}

}  // namespace sy::runtime
