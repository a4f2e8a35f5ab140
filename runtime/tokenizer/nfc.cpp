#include "runtime/tokenizer/nfc.hpp"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "kernels/core/error.hpp"
#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

struct Free {
    void operator()(utf8proc_uint8_t* text) const noexcept { std::free(text); }
};

void append_normalized(std::string_view part, std::string& output) {
    utf8proc_uint8_t* result = nullptr;
    const utf8proc_ssize_t length = utf8proc_map(
        reinterpret_cast<const utf8proc_uint8_t*>(part.data()), static_cast<utf8proc_ssize_t>(part.size()),
        &result, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (length < 0)
        throw Error(concat("NFC of a text of ", part.size(), " bytes failed: ", utf8proc_errmsg(length)));
    const std::unique_ptr<utf8proc_uint8_t, Free> owner(result);
    output.append(reinterpret_cast<const char*>(result), static_cast<std::size_t>(length));
}

/// Characters below U+0300 are normalized, and none of them composes with what stands before it.
bool is_below_0300(char first_byte) {
    return static_cast<unsigned char>(first_byte) < 0xcc;
}

}  // namespace

std::string_view normalize_nfc(std::string_view text, std::string& storage) {
    std::size_t place = 0;
    std::size_t done = 0;
    storage.clear();
    while (true) {
        while (place < text.size() && is_below_0300(text[place])) ++place;
        if (place == text.size()) break;
        // From the character before, which may compose with this one, to the next below U+0300.
        std::size_t begin = place;
        while (begin > done && continues_character(text[begin - 1])) --begin;
        if (begin > done) --begin;
        std::size_t end = place;
        while (end < text.size() && (!is_below_0300(text[end]) || continues_character(text[end]))) ++end;
        storage.append(text.substr(done, begin - done));
        append_normalized(text.substr(begin, end - begin), storage);
        place = done = end;
    }
    if (done == 0) return text;
    storage.append(text.substr(done));
    return storage;
}

}  // namespace sy::runtime
