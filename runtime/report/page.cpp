#include "runtime/report/page.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <span>
#include <string>
#include <system_error>

#include "kernels/core/error.hpp"
#include "runtime/checkpoint/output_file.hpp"
#include "runtime/report/markup.hpp"
#include "runtime/report/page_style.hpp"

namespace sy::runtime {
namespace {

/// First line of every page, by which it is known as one.
constexpr std::string_view kFirstLine = "<!DOCTYPE html><!-- switchyard report -->";

/// Whether every cell of a column is a number, or stands for one that is missing.
bool has_numbers(const Table& table, std::size_t column) {
    return std::all_of(table.rows.begin(), table.rows.end(), [column](const auto& row) {
        const std::string& cell = row[column];
        return cell.empty() || cell == "-" || cell == "not finite" ||
               cell.find_first_of("0123456789") <= (cell[0] == '-' ? 1 : 0);
    });
}

std::string cell(std::string_view tag, bool is_number, std::string_view text) {
    return concat("<", tag, is_number ? " class=\"number\">" : ">", escape(text), "</", tag, ">");
}

/// Whether a file of ours is there. @throws ConfigError for anything else
bool is_ours(const std::filesystem::path& path) {
    std::error_code failure;
    const std::filesystem::file_status status = std::filesystem::status(path, failure);
    if (status.type() == std::filesystem::file_type::not_found) return false;
    std::string first_line;
    if (std::filesystem::is_regular_file(status)) std::getline(std::ifstream(path), first_line);
    if (first_line != kFirstLine) {
        throw ConfigError(concat("report: ", path.string(),
                                 " is there and is no page that this program wrote; ",
                                 "it is left as it is: give another name"));
    }
    return true;
}

void publish(const std::filesystem::path& written, const std::filesystem::path& path, bool replace) {
    const int result =
        replace ? ::rename(written.c_str(), path.c_str()) : ::link(written.c_str(), path.c_str());
    if (result == 0) return;
    throw IoError(
        concat("report: cannot publish ", path.string(), ": ", std::generic_category().message(errno)));
}

/// A file that is gone with its owner, published or not.
struct Unfinished {
    std::filesystem::path path;
    explicit Unfinished(std::filesystem::path name) : path(std::move(name)) {}
    Unfinished(const Unfinished&) = delete;
    Unfinished& operator=(const Unfinished&) = delete;
    ~Unfinished() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }
};

}  // namespace

Page::Page(std::string_view title) : title_(title) {}

void Page::section(std::string_view title) {
    SY_REQUIRE(!in_fold_, "a fold is open");
    body_ += concat(in_section_ ? "</section>\n" : "", "<section>\n<h2>", escape(title), "</h2>\n");
    in_section_ = true;
}

void Page::paragraph(std::string_view text) {
    body_ += concat("<p>", escape(text), "</p>\n");
}

void Page::table(const Table& table) {
    for (const auto& row : table.rows)
        SY_REQUIRE(row.size() == table.head.size(), "a row of ", row.size(), " cells under ",
                   table.head.size());
    body_ += concat("<div class=\"scroll\" tabindex=\"0\"><table>\n<caption>", escape(table.caption),
                    "</caption>\n<thead><tr>");
    std::vector<bool> numbers;
    for (std::size_t column = 0; column < table.head.size(); ++column) {
        numbers.push_back(column > 0 && has_numbers(table, column));
        body_ += cell("th", numbers[column], table.head[column]);
    }
    body_ += "</tr></thead>\n<tbody>\n";
    for (const auto& row : table.rows) {
        body_ += "<tr>";
        for (std::size_t column = 0; column < row.size(); ++column)
            body_ += cell("td", numbers[column], row[column]);
        body_ += "</tr>\n";
    }
    body_ += "</tbody>\n</table></div>\n";
}

void Page::begin_fold(std::string_view summary) {
    SY_REQUIRE(!in_fold_, "a fold is open");
    body_ += concat("<details><summary>", escape(summary), "</summary>\n<div class=\"fold\">\n");
    in_fold_ = true;
}

void Page::end_fold() {
    SY_REQUIRE(in_fold_, "no fold is open");
    body_ += "</div></details>\n";
    in_fold_ = false;
}

std::string Page::html() const {
    SY_REQUIRE(!in_fold_, "a fold is open");
    const std::string title = escape(title_);
    return concat(kFirstLine, "\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n",
                  "<meta charset=\"utf-8\"/>\n",
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>", title,
                  "</title>\n<style>", kPageStyle, "</style>\n</head>\n<body>\n<h1>", title, "</h1>\n", body_,
                  in_section_ ? "</section>\n" : "", "</body>\n</html>\n");
}

void write_page(const std::filesystem::path& path, const Page& page) {
    const bool replace = is_ours(path);
    // A link keeps its place: what it points to is replaced.
    const std::filesystem::path target = replace ? std::filesystem::canonical(path) : path;
    const std::filesystem::path written = concat(target.string(), ".unfinished-", ::getpid());
    const std::string html = page.html();
    detail::OutputFile file(written, detail::OutputFile::Mode::create);
    const Unfinished unfinished(written);
    file.write(0, std::as_bytes(std::span(html)));
    file.flush();
    file.close();
    publish(written, target, replace);
}

}  // namespace sy::runtime
