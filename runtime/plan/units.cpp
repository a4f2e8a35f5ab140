#include "runtime/plan/units.hpp"

#include <iomanip>
#include <sstream>

namespace sy::runtime {

std::string with_prefix(double value, const std::string& unit) {
    const char* const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
    int prefix = 0;
    // 999.996 would print as 1000.00.
    for (; value >= 999.995 && prefix < 6; ++prefix) value /= 1000.0;
    std::ostringstream text;
    text << std::fixed << std::setprecision(2) << value;
    const std::string behind = prefixes[prefix] + unit;
    if (!behind.empty()) text << " " << behind;
    return text.str();
}

}  // namespace sy::runtime
