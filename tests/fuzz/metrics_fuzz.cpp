// metrics.jsonl, as `report` reads it.
#include <filesystem>
#include <fstream>

#include "kernels/core/error.hpp"
#include "runtime/report/history.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/unit/runtime/test_folder.hpp"

using namespace sy;

std::vector<std::string> fuzz_seeds() {
    return {
        R"({"type":"step","step":1,"token_loss":5.5,"gradient_norm":1.0,"tokens":96,"seconds":0.1,"imbalance":1.2,"dropped":3,"layers":[{"load":[1,2,3]}],"extra_losses":{"z_loss":0.5}}
{"type":"eval","step":1,"bits_per_byte":7.9}
{"type":"end","step":3,"stopped_early":false}
)",
        R"({"type":"step","step":2,"token_loss":null,"layers":[]}
)"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const test::TestFolder folder;
    std::ofstream(folder / "metrics.jsonl", std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    try {
        runtime::read_history(folder / ".");
    } catch (const IoError&) {
    }
    return 0;
}
