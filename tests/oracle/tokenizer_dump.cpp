// Encodes texts with a tokenizer of ours, for the Python scripts that compare and time.
//   tokenizer_dump TOKENIZER TEXTS IDS [THREADS [ROUNDS]]
// TEXTS holds for each text a uint64 of its bytes and the bytes; IDS gets for each an uint64 of its tokens and int32 ids,
// and then in the same way the bytes that decoding gives back. Prints the seconds of the fastest round of encoding, and the
// processor time of the one that took least, which other programs on the machine do not lengthen.
#include <chrono>
#include <ctime>
#include <fstream>
#include <iostream>

#include "kernels/core/thread_team.hpp"
#include "runtime/tokenizer/tokenizer.hpp"

using namespace sy;

namespace {

std::vector<std::string> read_texts(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<std::string> texts;
    std::uint64_t size = 0;
    while (file.read(reinterpret_cast<char*>(&size), sizeof size)) {
        std::string text(size, '\0');
        file.read(text.data(), static_cast<std::streamsize>(size));
        if (!file) throw IoError(concat(path, ": ends within a text"));
        texts.push_back(std::move(text));
    }
    return texts;
}

template <class Values>
void write_values(std::ofstream& file, const Values& values) {
    const std::uint64_t size = values.size();
    file.write(reinterpret_cast<const char*>(&size), sizeof size);
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(size * sizeof(values[0])));
}

int run(const std::vector<std::string>& words) {
    const std::unique_ptr<runtime::Tokenizer> tokenizer = runtime::make_tokenizer(words[0]);
    const std::vector<std::string> texts = read_texts(words[1]);
    ThreadTeam team(words.size() > 3 ? std::stoi(words[3]) : 1);
    const int rounds = words.size() > 4 ? std::stoi(words[4]) : 1;
    std::vector<std::vector<std::int32_t>> ids(texts.size());
    double least = 1e30;
    double least_of_processors = 1e30;
    for (int round = 0; round < rounds; ++round) {
        const auto start = std::chrono::steady_clock::now();
        const std::clock_t processor_start = std::clock();
        team.for_tasks(static_cast<index_t>(texts.size()), [&](index_t task, int) {
            const auto place = static_cast<std::size_t>(task);
            ids[place] = tokenizer->encode(texts[place]);
        });
        const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
        least = std::min(least, taken.count());
        const auto ticks = static_cast<double>(std::clock() - processor_start);
        least_of_processors = std::min(least_of_processors, ticks / CLOCKS_PER_SEC);
    }
    std::ofstream output(words[2], std::ios::binary);
    for (const std::vector<std::int32_t>& one : ids) {
        write_values(output, one);
        write_values(output, tokenizer->decode(one));
    }
    if (!output.flush()) throw IoError(concat("cannot write ", words[2]));
    std::cout << least << " " << least_of_processors << "\n";
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.size() < 3 || words.size() > 5) {
        std::cerr << "tokenizer_dump TOKENIZER TEXTS IDS [THREADS [ROUNDS]]\n";
        return 2;
    }
    try {
        return run(words);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
