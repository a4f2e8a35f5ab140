// Drives a fuzz target with mutations of its seeds where libFuzzer is not there.   TARGET [SECONDS [SEED]]
// An input that crashes or takes more than 10 seconds is left in crash-input; TARGET replay FILE gives it to the target again.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string_view>

#include "tests/fuzz/target.hpp"

namespace {

constexpr std::array<std::string_view, 24> kTokens = {"-1",
                                                      "0",
                                                      "1e308",
                                                      "1e-320",
                                                      "9223372036854775807",
                                                      "9223372036854775808",
                                                      "-9223372036854775808",
                                                      "null",
                                                      "true",
                                                      "[]",
                                                      "{}",
                                                      "[[[[[[[[",
                                                      "\"\"",
                                                      "\\u0000",
                                                      "..",
                                                      "/",
                                                      "nan",
                                                      "inf",
                                                      "=",
                                                      "\n",
                                                      "[model]",
                                                      "\"",
                                                      "#",
                                                      ","};
constexpr std::size_t kMaxBytes = 1 << 16;

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t end) {
    return end == 0 ? 0 : random() % end;
}

/// The input being tried, for the signal handler.
const std::string* current = nullptr;

extern "C" void keep_input(int number) {
    const int file = ::open("crash-input", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file >= 0 && current != nullptr && ::write(file, current->data(), current->size()) >= 0)
        ::close(file);
    ::signal(number, SIG_DFL);
    ::raise(number);
}

void mutate_once(std::string& text, const std::vector<std::string>& corpus, Random& random) {
    const std::size_t place = below(random, text.size() + 1);
    const std::size_t length = below(random, 1 + below(random, 64));
    switch (random() % 7) {
        case 0:
            if (place < text.size()) text[place] = static_cast<char>(text[place] ^ (1 << random() % 8));
            break;
        case 1:
            if (place < text.size()) text[place] = static_cast<char>(random());
            break;
        case 2:
            text.erase(place, length);
            break;
        case 3:
            text.insert(place, kTokens[below(random, kTokens.size())]);
            break;
        case 4:
            text.insert(place, text.substr(below(random, text.size()), length));
            break;
        case 5: {
            const std::string& other = corpus[below(random, corpus.size())];
            text = text.substr(0, place) + other.substr(below(random, other.size()));
            break;
        }
        default: {
            // A whole number is replaced, which bytes alone seldom do.
            const std::size_t begin = text.find_first_of("0123456789", place);
            if (begin == std::string::npos) break;
            const std::size_t end = text.find_first_not_of("0123456789", begin);
            text.replace(begin, end - begin, kTokens[below(random, kTokens.size())]);
        }
    }
    if (text.size() > kMaxBytes) text.resize(kMaxBytes);
}

void try_input(const std::string& text) {
    current = &text;
    ::alarm(10);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
    ::alarm(0);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 3 && std::strcmp(argv[1], "replay") == 0) {
        std::ifstream file(argv[2], std::ios::binary);
        try_input({std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()});
        return 0;
    }
    for (const int number : {SIGSEGV, SIGABRT, SIGFPE, SIGBUS, SIGALRM}) ::signal(number, keep_input);
    const auto budget = std::chrono::duration<double>(argc > 1 ? std::atof(argv[1]) : 10.0);
    const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
    Random random(seed);
    const std::vector<std::string> corpus = fuzz_seeds();
    for (const std::string& text : corpus) try_input(text);
    std::uint64_t num_inputs = 0;
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < budget) {
        std::string text = corpus[below(random, corpus.size())];
        for (std::size_t left = 1 + below(random, 6); left > 0; --left) mutate_once(text, corpus, random);
        try_input(text);
        ++num_inputs;
    }
    std::printf("%llu inputs, seed %llu: none crashed\n", static_cast<unsigned long long>(num_inputs),
                static_cast<unsigned long long>(seed));
    return 0;
}
