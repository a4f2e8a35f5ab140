// Config files, and assignments as --set takes them: the first line of the input is one too.
#include "kernels/core/error.hpp"
#include "runtime/config/config.hpp"
#include "tests/fuzz/target.hpp"

using namespace sy;
using namespace sy::runtime;

std::vector<std::string> fuzz_seeds() {
    return {dump(Config{}), "model.hidden=32\n[moe]\nexperts = 8\n", "data.path=\"a b,c\"\n",
            "train.steps=10\n"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    try {
        const std::string written = dump(parse_config(text, "fuzz.conf"));
        SY_REQUIRE(dump(parse_config(written, "again")) == written, "the settings change when written");
    } catch (const ConfigError&) {
    }
    try {
        dump(load_config({.assignments = {text.substr(0, text.find('\n'))}}));
    } catch (const ConfigError&) {
    }
    return 0;
}
