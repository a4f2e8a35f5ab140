// Gives libFuzzer the seeds of a target: they are written to its corpus, the first argument that is no option.
#include <filesystem>
#include <fstream>

#include "tests/fuzz/target.hpp"

extern "C" int LLVMFuzzerInitialize(int* num_arguments, char*** arguments) {
    for (int i = 1; i < *num_arguments; ++i) {
        const std::filesystem::path corpus = (*arguments)[i];
        if (corpus.string().starts_with("-")) continue;
        if (std::filesystem::is_regular_file(corpus)) break;  // an input to be tried again
        std::filesystem::create_directories(corpus);
        int number = 0;
        for (const std::string& text : fuzz_seeds())
            std::ofstream(corpus / ("seed-" + std::to_string(number++)), std::ios::binary) << text;
        break;
    }
    return 0;
}
