// Writes what checkpoints predict, for a program that compares it with another's.
//   logits_dump CHECKPOINT IDS OUT...   IDS: numbers of tokens in a text file; OUT: [tokens, vocabulary] float32; more
//                                       than one checkpoint: CHECKPOINT IDS OUT CHECKPOINT IDS OUT ...
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "comm/local/local_fabric.hpp"
#include "runtime/train/session.hpp"

namespace {

using namespace sy;
using namespace sy::runtime;

std::vector<std::int32_t> read_ids(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istream_iterator<std::int32_t>(file), {}};
}

void dump(const std::filesystem::path& checkpoint, const std::filesystem::path& ids_file,
          const std::filesystem::path& out) {
    const CheckpointReader reader(checkpoint);
    const Config config = parse_config(reader.manifest().config, "the checkpoint's settings");
    const std::vector<std::int32_t> ids = read_ids(ids_file);
    std::ofstream file(out, std::ios::binary);
    comm::LocalFabric(1).run([&](comm::Communicator& alone) {
        Session session(config, alone);
        session.restore(reader);
        model::Transformer& transformer = session.transformer();
        const Context& context = session.context();
        model::Transformer::Generation state =
            transformer.start_generation(1, static_cast<index_t>(ids.size()), context);
        for (const std::int32_t id : ids) {
            const Tensor logits = transformer.decode(std::span(&id, 1), state, context);
            const std::span<const std::byte> bytes = logits.raw();
            file.write(reinterpret_cast<const char*>(bytes.data()),
                       static_cast<std::streamsize>(bytes.size()));
        }
        session.close();
    });
    if (!file.flush()) throw IoError(concat("writing ", out.string(), " failed"));
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> words(argv + 1, argv + argc);
    if (words.empty() || words.size() % 3 != 0) {
        std::cerr << "logits_dump CHECKPOINT IDS OUT...\n";
        return 2;
    }
    try {
        for (std::size_t i = 0; i < words.size(); i += 3) dump(words[i], words[i + 1], words[i + 2]);
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
    return 0;
}
