#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/report/plot.hpp"

/// A report as one HTML file that needs nothing else: no script, no font, no network. It is well-formed XML too, follows
/// the reader's choice of dark or light, and can be read on a telephone: figures shrink, wide tables scroll on their own.
namespace sy::runtime {

struct Table {
    std::string caption;
    std::vector<std::string> head;
    std::vector<std::vector<std::string>> rows;  ///< as many cells as the head has
};

class Page {
  public:
    explicit Page(std::string_view title);

    /// What follows belongs to this section, up to the next.
    void section(std::string_view title);
    void paragraph(std::string_view text);
    void table(const Table& table);
    /// Figures in a row stand side by side where there is room.
    template <class Plot>
    void add(const Plot& plot) {
        body_ += figure(plot);
    }
    /// What stands between the two is folded away until the reader opens it. @pre no fold is open
    void begin_fold(std::string_view summary);
    void end_fold();

    /// The whole page. @pre no fold is open
    std::string html() const;

  private:
    std::string title_;
    std::string body_;
    bool in_section_ = false;
    bool in_fold_ = false;
};

/// Writes a page to a file that is not there or that an earlier call has written, which its first line tells. The file is
/// never seen half-written: it is written under another name beside it and renamed.
/// @throws IoError when writing fails; ConfigError when the file there is not of this program
void write_page(const std::filesystem::path& path, const Page& page);

}  // namespace sy::runtime
