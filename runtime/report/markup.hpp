#pragma once

#include <string>
#include <string_view>

namespace sy::runtime {

/// Text for HTML and SVG, between tags or in a quoted attribute: `&<>"'` are escaped; bytes that are no UTF-8, and
/// characters that XML does not allow, become U+FFFD.
std::string escape(std::string_view text);

/// A length or place in a drawing, with up to two decimals: "12.5".
std::string coordinate(double value);

/// A number with so many decimals. @pre finite, 0 <= decimals <= 17
std::string fixed_text(double value, int decimals);

/// A number for people, four significant digits: "0.1235", "12.5k", "3.2e-5"; "nan", "inf".
std::string short_number(double value);

}  // namespace sy::runtime
