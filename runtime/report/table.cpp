#include "runtime/report/table.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "runtime/json/json.hpp"

namespace sy::runtime {
namespace {

struct Column {
    const char* head;
    const char* name;  ///< in JSON
    double RunSummary::*number;
    int precision;
    double factor;
};

constexpr std::array kColumns{
    Column{"last bits/byte", "bits_per_byte", &RunSummary::final_bits, 4, 1.0},
    Column{"best", "best_bits_per_byte", &RunSummary::best_bits, 4, 1.0},
    Column{"tokens/s", "tokens_per_s", &RunSummary::tokens_per_s, 0, 1.0},
    Column{"load", "load", &RunSummary::load, 2, 1.0},
    Column{"dropped %", "dropped", &RunSummary::dropped, 2, 100.0},
    Column{"spikes", "spikes", &RunSummary::spikes, 0, 1.0},
    Column{"gradient", "largest_gradient", &RunSummary::largest_gradient, 2, 1.0},
    Column{"logsumexp", "largest_logsumexp", &RunSummary::largest_logsumexp, 2, 1.0},
};

constexpr const char* kLegend =
    "last, best: validation, bits per byte. load: highest over mean load of an expert, worst layer, mean of "
    "the last\n"
    "100 steps. dropped: of all choices. spikes: leaps of the training loss. gradient: largest norm before "
    "clipping.\n"
    "logsumexp: largest of the routers' logits, root mean square of a step (needs balance.z_loss). (x): "
    "standard\n"
    "deviation over seeds. *: a run did not reach its last step. !: the last loss or validation of one is no "
    "number.\n";

std::string fixed(double value, int precision) {
    if (std::isnan(value)) return "-";
    if (std::isinf(value)) return "not finite";
    std::ostringstream text;
    text << std::fixed << std::setprecision(precision) << value;
    return text.str();
}

std::string cell(const RunRow& row, const Column& column) {
    const Statistic statistic = row.over_seeds(column.number);
    std::string text = fixed(statistic.mean * column.factor, column.precision);
    if (std::isfinite(statistic.deviation))
        text += concat(" (", fixed(statistic.deviation * column.factor, column.precision), ")");
    return text;
}

std::string bits(double value) {
    return fixed(value, 4);
}

/// A name of each row with something, or nothing when no row has it.
template <class Function>
std::string list_of(std::span<const RunRow> rows, Function&& text_of) {
    std::string list;
    for (const RunRow& row : rows) {
        const std::string text = text_of(row);
        if (!text.empty()) list += (list.empty() ? "" : ", ") + text;
    }
    return list;
}

/// How far the two first rows can be told apart.
std::string certainty(const RunRow& first, const RunRow& second) {
    const Statistic a = first.over_seeds(&RunSummary::final_bits);
    const Statistic b = second.over_seeds(&RunSummary::final_bits);
    if (!std::isfinite(a.deviation) || !std::isfinite(b.deviation))
        return "One seed each: how far seeds alone would move these numbers is not known.";
    const double together = std::hypot(a.deviation, b.deviation);
    return concat("Between ", first.name, " and ", second.name, " lie ", bits(b.mean - a.mean),
                  b.mean - a.mean > 2.0 * together
                      ? ", more than twice the standard deviation of such a difference over seeds ("
                      : ", which seeds alone could do (standard deviation of such a difference: ",
                  bits(together), ").");
}

std::string order_of(std::span<const RunRow> rows) {
    std::vector<const RunRow*> ranked;
    for (const RunRow& row : rows) {
        if (std::isfinite(row.over_seeds(&RunSummary::final_bits).mean) && row.finished() && !row.diverged())
            ranked.push_back(&row);
    }
    const auto last_bits = [](const RunRow* row) { return row->over_seeds(&RunSummary::final_bits).mean; };
    std::stable_sort(ranked.begin(), ranked.end(), [&](const RunRow* left, const RunRow* right) {
        return last_bits(left) < last_bits(right);
    });
    if (ranked.empty()) return "No run finished with a validation that is a number.";
    const double lowest = last_bits(ranked.front());
    std::string text =
        concat("Lowest last validation: ", ranked.front()->name, ", ", bits(lowest), " bits per byte");
    for (std::size_t i = 1; i < ranked.size(); ++i)
        text += concat(i == 1 ? "; behind it " : ", ", ranked[i]->name, " +",
                       bits(last_bits(ranked[i]) - lowest));
    text += ".";
    return ranked.size() > 1 ? concat(text, " ", certainty(*ranked[0], *ranked[1])) : text;
}

bool same_losses(const RunRow& left, const RunRow& right) {
    const auto losses = [](const RunRow& row) {
        std::vector<double> values;
        for (const RunHistory& history : row.histories) {
            for (const StepPoint& point : history.steps) {
                if (std::isfinite(point.token_loss)) values.push_back(point.token_loss);
            }
        }
        return values;
    };
    const std::vector<double> of_left = losses(left);
    return !of_left.empty() && of_left == losses(right);
}

/// Groups of rows whose training went the same way bit for bit: a setting that does nothing should not look like one
/// that does not matter.
std::string twins(std::span<const RunRow> rows) {
    std::string text;
    std::vector<bool> told(rows.size(), false);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::string group = rows[i].name;
        for (std::size_t j = i + 1; j < rows.size(); ++j) {
            if (told[i] || told[j] || !same_losses(rows[i], rows[j])) continue;
            group += concat(", ", rows[j].name);
            told[j] = true;
        }
        if (group != rows[i].name)
            text +=
                concat(" The same in every loss, so what should tell them apart did nothing: ", group, ".");
    }
    return text;
}

}  // namespace

std::vector<std::vector<std::string>> table_cells(std::span<const RunRow> rows) {
    std::vector<std::vector<std::string>> lines{{"name", "seeds", "steps"}};
    for (const Column& column : kColumns) lines[0].emplace_back(column.head);
    for (const RunRow& row : rows) {
        lines.push_back({row.name, concat(row.runs.size()),
                         concat(row.steps(), row.finished() ? "" : "*", row.diverged() ? "!" : "")});
        for (const Column& column : kColumns) lines.back().push_back(cell(row, column));
    }
    return lines;
}

std::string_view table_legend() {
    return kLegend;
}

void print_table(std::ostream& out, std::span<const RunRow> rows) {
    const std::vector<std::vector<std::string>> lines = table_cells(rows);
    std::vector<std::size_t> widths(lines[0].size(), 0);
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], line[i].size());
    }
    for (const auto& line : lines) {
        for (std::size_t i = 0; i < line.size(); ++i)
            out << (i == 0 ? std::left : std::right) << (i == 0 ? "" : "  ")
                << std::setw(static_cast<int>(widths[i])) << line[i];
        out << "\n";
    }
    out << kLegend;
}

void print_json(std::ostream& out, std::span<const RunRow> rows) {
    const auto value = [](double number) { return std::isfinite(number) ? Json(number) : Json(nullptr); };
    for (const RunRow& row : rows) {
        Json object = Json::Object{{"name", row.name},           {"seeds", row.runs.size()},
                                   {"steps", row.steps()},       {"finished", row.finished()},
                                   {"diverged", row.diverged()}, {"unread_lines", row.unread_lines()}};
        for (const Column& column : kColumns) {
            const Statistic statistic = row.over_seeds(column.number);
            object[column.name] = value(statistic.mean);
            object[concat(column.name, "_deviation")] = value(statistic.deviation);
        }
        out << object.text() << "\n";
    }
}

std::string remark(std::span<const RunRow> rows) {
    std::string text = order_of(rows);
    const std::string spikes = list_of(rows, [](const RunRow& row) {
        const double mean = row.over_seeds(&RunSummary::spikes).mean;
        return mean > 0.0 ? concat(row.name, " ", mean) : std::string{};
    });
    text +=
        spikes.empty() ? " No training loss spiked." : concat(" Spikes of the training loss: ", spikes, ".");
    const std::string unfinished = list_of(rows, [](const RunRow& row) {
        return row.finished() ? std::string{} : concat(row.name, " (step ", row.steps(), ")");
    });
    if (!unfinished.empty()) text += concat(" Not finished: ", unfinished, ".");
    const std::string diverged =
        list_of(rows, [](const RunRow& row) { return row.diverged() ? row.name : std::string{}; });
    if (!diverged.empty()) text += concat(" Diverged, and not ranked: ", diverged, ".");
    const std::string unread = list_of(rows, [](const RunRow& row) {
        return row.unread_lines() > 0 ? concat(row.name, " ", row.unread_lines()) : std::string{};
    });
    if (!unread.empty()) text += concat(" Lines of metrics.jsonl that could not be read: ", unread, ".");
    return text + twins(rows);
}

}  // namespace sy::runtime
