// Writes what checkpoints predict, for a program that compares it with another's.
//   logits_dump CHECKPOINT IDS OUT...   IDS: numbers of tokens in a text file; OUT: [tokens, vocabulary] float32; more
//                                       than one checkpoint: CHECKPOINT IDS OUT CHECKPOINT IDS OUT ...
// The encoder under a decoder reads the same ids, from the last to the first.
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

void write_rows(const Tensor& logits, std::ofstream& file) {
    const std::span<const std::byte> bytes = logits.raw();
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// The state of a decoder before its first token.
model::Transformer::Generation start(const model::Transformer& transformer, std::span<const std::int32_t> ids,
                                     const Context& context) {
    const auto length = static_cast<index_t>(ids.size());
    if (transformer.config().architecture == model::Architecture::decoder)
        return transformer.start_generation(1, length, context);
    const std::vector<std::int32_t> source(ids.rbegin(), ids.rend());
    return transformer.start_generation(source, length, length, context);
}

void dump(const std::filesystem::path& checkpoint, const std::filesystem::path& ids_file,
          const std::filesystem::path& out) {
    const CheckpointReader reader(checkpoint);
    const Config config = parse_config(reader.manifest().config, "the checkpoint's settings");
    const std::vector<std::int32_t> ids = read_ids(ids_file);
    std::ofstream file(out, std::ios::binary);
    comm::LocalFabric(1).run([&](comm::Communicator& alone) {
        Session session(config, alone, Session::Purpose::infer);
        session.restore(reader);
        model::Transformer& transformer = session.transformer();
        const Context& context = session.context();
        if (config.model.architecture == model::Architecture::encoder) {
            write_rows(transformer.read(ids, static_cast<index_t>(ids.size()), context), file);
        } else {
            model::Transformer::Generation state = start(transformer, ids, context);
            for (const std::int32_t id : ids)
                write_rows(transformer.decode(std::span(&id, 1), state, context), file);
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
