// metrics.jsonl, as `report` and its page read it.
#include <filesystem>
#include <fstream>

#include "kernels/core/error.hpp"
#include "runtime/report/training_page.hpp"
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
)",
        R"({"type":"run","first_step":1,"threads":2,"layout":"1 rank","notes":["a"],"config":{"moe":{"experts":2}}}
{"type":"step","step":1,"token_loss":5.5,"learning_rate":0.1,"applied":false,"tokens":96,"tokens_per_s":9,"seconds":0.1,"phases":{"data":0.1,"compute":0.2,"communication":0.1,"optimizer":0.1},"dropped":3,"imbalance":1.2,"layers":[{"layer":1,"load":[3,1]}],"traffic":{"network":{"bytes":9},"network_bound":8},"exchange_seconds":{"plan":{"total":1,"exposed":1},"dispatch":{"total":1,"exposed":0},"return":{"total":1,"exposed":0}},"memory_bytes":7}
{"type":"run","first_step":2}
{"type":"placement","step":1,"moved":2,"shadows":0,"imbalance_before":2,"imbalance_after":1}
{"type":"checkpoint","step":1}
{"type":"end","step":1,"stopped_early":true}
)"};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const test::TestFolder folder;
    std::ofstream(folder / "metrics.jsonl", std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    try {
        const runtime::PageRow row{runtime::read_row(folder / "."),
                                   {runtime::read_story(folder / ".", "run")}};
        runtime::training_page(std::span(&row, 1)).html();
    } catch (const IoError&) {
    }
    return 0;
}
