// Small random models of every family as GGUF files, beside the logits that we compute, for llama.cpp to repeat.
//   gguf_dump models FOLDER     writes FOLDER/NAME.gguf, .tokens (int32) and .logits (float32 [tokens, vocabulary]), and
//                               prints NAME ARCHITECTURE; imports each file and compares it with the checkpoint, bit for bit;
//                               FOLDER/grok.names: what a folder of Grok-1 calls its tensors, and ours
//   gguf_dump container FOLDER  writes FOLDER/container.gguf, a tensor of every type, and its values, container.f32
//   gguf_dump read FILE OUT     writes the values of all tensors of FILE as float32
//   gguf_dump tokenizer TOKENIZER STEM   exports a small model with a tokenizer.json to STEM.gguf, imports it, and writes
//                               STEM.json: texts, and their ids by the tokenizer; those of the imported one are the same
//   gguf_dump wordpiece FOLDER STEM   exports a small BERT with FOLDER/tokenizer.json to STEM.gguf, imports it, and compares the
//                               vocabularies
//   gguf_dump sentencepiece FOLDER   trains FOLDER/NAME.model of several kinds, and does the same with each; without the
//                               library it ends with 77
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "comm/local/local_fabric.hpp"
#include "kernels/core/philox.hpp"
#include "model/families/preset.hpp"
#include "runtime/checkpoint/compare.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/interchange/gguf/convert.hpp"
#include "runtime/interchange/gguf/split.hpp"
#include "runtime/interchange/hf_family.hpp"
#include "runtime/interchange/our_tensors.hpp"
#include "runtime/json/json.hpp"
#include "runtime/tokenizer/tokenizer.hpp"
#include "runtime/train/session.hpp"

#ifdef SY_HAS_SENTENCEPIECE
#include <sentencepiece_trainer.h>
#endif

namespace sy::test {
namespace {

namespace fs = std::filesystem;
using runtime::Config;

constexpr index_t kTokens = 64;

/// What is changed in a preset so that llama.cpp has an architecture for it, or so that another one is chosen.
struct Case {
    const char* name;
    const char* preset;
    void (*change)(Config&) = [](Config&) {};
};

const Case kCases[] = {
    {"llama", "llama-3-8b"},
    {"llama-interleaved", "llama-7b",
     [](Config& config) {
         config.model.position.rope_pairs = model::RopePairs::interleaved;
         config.model.attention.bias = model::Biases::all;
         config.model.tied_head = true;
         config.model.position.rope_scaling = model::RopeScaling::linear;
         config.model.position.rope_factor = 2.0;
     }},
    {"mixtral", "mixtral-8x7b"},
    {"qwen3moe", "qwen3-30b-a3b"},
    {"olmoe", "olmoe-1b-7b",
     [](Config& config) { config.model.position.rope_pairs = model::RopePairs::interleaved; }},
    {"qwen2moe", "qwen1.5-moe-a2.7b"},
    {"qwen2moe-plain", "qwen1.5-moe-a2.7b",
     [](Config& config) {
         config.moe.shared_gate = false;
         config.model.position.rope_fraction = 0.5;
         config.model.position.rope_pairs = model::RopePairs::interleaved;
     }},
    {"deepseek-moe", "deepseek-moe-16b"},
    {"glm4moe", "deepseek-v3",
     [](Config& config) {
         config.model.attention.kind = model::AttentionKind::grouped;
         config.model.attention.qk_norm = model::QkNorm::head;
         config.model.attention.value_dim = 0;
         config.model.mtp_depth = 0;
     }},
    {"deepseek-v3", "deepseek-v3", [](Config& config) { config.model.mtp_depth = 0; }},
    {"deepseek-v2-lite", "deepseek-v2-lite",
     [](Config& config) { config.model.position.rope_pairs = model::RopePairs::half_split; }},
    {"gemma2", "gemma-2-9b"},
    {"dbrx", "dbrx",
     [](Config& config) { config.model.position.rope_pairs = model::RopePairs::interleaved; }},
    {"grok", "grok-1",
     [](Config& config) {
         config.moe.renormalise = true;
         config.model.logit_softcap = 6.0;
     }},
    {"yarn", "llama-3-8b",
     [](Config& config) {
         config.model.position.rope_scaling = model::RopeScaling::yarn;
         config.model.position.rope_factor = 4.0;
         config.model.position.rope_original_len = 16;
     }},
    {"yarn-latent", "deepseek-v3",
     [](Config& config) {
         config.model.mtp_depth = 0;
         config.model.position.rope_scaling = model::RopeScaling::yarn;
         config.model.position.rope_factor = 4.0;
         config.model.position.rope_original_len = 16;
     }},
    {"ntk", "qwen3-30b-a3b",
     [](Config& config) {
         config.model.position.rope_scaling = model::RopeScaling::ntk;
         config.model.position.rope_factor = 4.0;
     }},
    {"t5", "t5-base", [](Config& config) { config.model.layers = 3; }},
    {"t5-1.1", "t5-v1.1-base"},
    {"gpt2", "gpt-2"},
    {"bloom", "bloom-176b"},
    {"bert", "bert-base"},
    {"bert-tanh", "bert-base",
     [](Config& config) {
         config.model.activation = model::Activation::gelu_tanh;
         config.model.token_types = 0;
         config.model.tied_head = false;
         config.model.head_bias = false;
     }},
};

Config config_of(const Case& chosen) {
    Config config;
    const model::Preset preset = model::find_preset(chosen.preset).value();
    config.model = preset.model;
    config.moe = preset.moe;
    model::scale_down(config.model, config.moe);
    config.model.seq_len = kTokens;
    config.parallel.threads = 1;
    config.run.lock = false;
    chosen.change(config);
    return config;
}

/// Weights large enough that every part of the model shows in its logits; gains and biases that are not 1 and 0.
float random_value(const std::string& name, index_t place) {
    const std::uint64_t stream = std::hash<std::string>{}(name);
    const float draw = normal({stream, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(place));
    if (name.ends_with(".gain")) return 1.0F + 0.2F * draw;
    return 0.15F * draw;
}

void write_random(const Config& config, const fs::path& folder) {
    const runtime::OurTensors ours = runtime::our_tensors(config);
    runtime::Manifest manifest;
    manifest.config = dump(config);
    manifest.shapes = ours.shapes;
    for (const auto& [name, size] : ours.router_state) {
        std::vector<double>& values = manifest.state.router[name];
        for (index_t i = 0; i < size; ++i) values.push_back(static_cast<double>(random_value(name, i)));
    }
    const auto fill = [](const runtime::ReshardPart& part, std::span<float> values) {
        for (std::size_t i = 0; i < values.size(); ++i) {
            const index_t place =
                (part.id.matrix << 32) + part.rows.begin * part.cols + static_cast<index_t>(i);
            values[i] = part.id.kind == runtime::Kind::weight ? random_value(part.id.tensor, place) : 0.0F;
        }
    };
    const runtime::ReshardPlan plan = runtime::plan_reshard(manifest.shapes, 1);
    write_checkpoint(folder, {std::move(manifest), fill, [](const runtime::Manifest&) {}}, plan);
}

template <class T>
void write_values(const fs::path& path, std::span<const T> values) {
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size_bytes()));
    SY_REQUIRE(file.flush().good(), "cannot write ", path.string());
}

/// An encoder under the decoder reads the same tokens, from the last to the first.
model::Transformer::Generation start(const model::Transformer& transformer,
                                     std::span<const std::int32_t> tokens, const Context& context) {
    if (transformer.config().architecture == model::Architecture::decoder)
        return transformer.start_generation(1, kTokens, context);
    const std::vector<std::int32_t> source(tokens.rbegin(), tokens.rend());
    return transformer.start_generation(source, kTokens, kTokens, context);
}

void write_logits(const fs::path& checkpoint, const fs::path& stem) {
    const runtime::CheckpointReader reader(checkpoint);
    const Config config = runtime::parse_config(reader.manifest().config, "the checkpoint's settings");
    comm::LocalFabric(1).run([&](comm::Communicator& alone) {
        runtime::Session session(config, alone);
        session.restore(reader);
        std::vector<std::int32_t> tokens;
        std::vector<float> logits;
        for (index_t i = 0; i < kTokens; ++i)
            tokens.push_back(static_cast<std::int32_t>((i * i * 7 + i * 31 + 65) % 256));
        const auto add = [&](const Tensor& rows) {
            const auto values = rows.values<float>();
            logits.insert(logits.end(), values.begin(), values.end());
        };
        model::Transformer& transformer = session.transformer();
        if (config.model.architecture == model::Architecture::encoder) {
            add(transformer.read(tokens, kTokens, session.context()));
        } else {
            auto state = start(transformer, tokens, session.context());
            for (const std::int32_t& token : tokens)
                add(transformer.decode(std::span(&token, 1), state, session.context()));
        }
        write_values<std::int32_t>(stem.string() + ".tokens", tokens);
        write_values<float>(stem.string() + ".logits", logits);
        session.close();
    });
}

/// What a GGUF file holds of these: no head of an encoder.
std::map<std::string, Shape> in_file(const runtime::Manifest& manifest) {
    const Config config = runtime::parse_config(manifest.config, "the checkpoint's settings");
    std::map<std::string, Shape> shapes = manifest.shapes;
    if (config.model.architecture == model::Architecture::encoder)
        std::erase_if(shapes, [](const auto& entry) { return entry.first.starts_with("head."); });
    return shapes;
}

/// Weights and router state of both, bit for bit.
void check_same(const fs::path& checkpoint, const fs::path& imported) {
    const runtime::CheckpointReader a(checkpoint);
    const runtime::CheckpointReader b(imported);
    const std::map<std::string, Shape> shapes = in_file(a.manifest());
    SY_REQUIRE(!shapes.empty() && shapes == b.manifest().shapes, "other tensors");
    const auto& expected = a.manifest().state.router;
    const auto& found = b.manifest().state.router;
    SY_REQUIRE(expected == found, "another router state");
    const auto checksums = b.manifest().matrix_checksums();
    for (const auto& [id, checksum] : a.manifest().matrix_checksums())
        SY_REQUIRE(!shapes.contains(id.tensor) || checksums.at(id) == checksum, id.to_string(),
                   " has other values");
}

/// The same model in the other storages, whose logits differ by their rounding.
void dump_roundings(const fs::path& checkpoint, const fs::path& stem) {
    for (const runtime::Storage storage : runtime::kStorages) {
        if (storage == runtime::Storage::f32) continue;
        const std::string rounded = concat(stem.string(), "-", storage_name(storage));
        const runtime::GgufWritten written =
            runtime::export_gguf(checkpoint, rounded + ".gguf", {.storage = storage});
        for (const char* const part : {".tokens", ".logits"})
            fs::copy_file(stem.string() + part, rounded + part);
        std::printf("%s %s\n", fs::path(rounded).filename().c_str(), written.architecture.c_str());
    }
}

/// The same model in several files, of which llama.cpp and the import are given the first.
void dump_split(const fs::path& checkpoint, const fs::path& stem) {
    const fs::path whole = stem.string() + "-split.gguf";
    const runtime::GgufWritten written = runtime::export_gguf(checkpoint, whole, {.shard_bytes = 40'000});
    SY_REQUIRE(written.num_files > 2, "the split model is in ", written.num_files, " files");
    const fs::path first = runtime::gguf::split_name(whole, 0, written.num_files);
    for (const char* const part : {".tokens", ".logits"})
        fs::copy_file(stem.string() + part, fs::path(first).replace_extension(part));
    std::printf("%s %s\n", first.stem().c_str(), written.architecture.c_str());
    runtime::import_gguf(first, stem.string() + ".joined");
    check_same(checkpoint, stem.string() + ".joined");
}

/// A line for each tensor of the family's folder: its name there, and one of ours that is in it.
void write_names(const Config& config, const char* family, const fs::path& path) {
    const runtime::TensorShapes ours = runtime::our_tensors(config).shapes;
    std::ofstream file(path);
    for (const runtime::ForeignTensor& tensor :
         runtime::find_hf_family(family).tensors(config, ours, runtime::ExpertLayout::separate).tensors)
        file << tensor.name << " " << tensor.parts.front().tensor << "\n";
    SY_REQUIRE(file.flush().good(), "cannot write ", path.string());
}

void dump_case(const Case& chosen, const fs::path& folder) {
    const Config config = config_of(chosen);
    const fs::path stem = folder / chosen.name;
    const fs::path checkpoint = stem.string() + ".ckpt";
    write_random(config, checkpoint);
    const runtime::GgufWritten written = runtime::export_gguf(checkpoint, stem.string() + ".gguf", {});
    std::printf("%s %s\n", chosen.name, written.architecture.c_str());
    runtime::import_gguf(stem.string() + ".gguf", stem.string() + ".again");
    check_same(checkpoint, stem.string() + ".again");
    // An encoder's are those of its hidden states with the embedding, as an import has it.
    const bool is_encoder = config.model.architecture == model::Architecture::encoder;
    write_logits(is_encoder ? stem.string() + ".again" : checkpoint.string(), stem);
    if (std::string_view(chosen.name) == "grok") write_names(config, "grok", stem.string() + ".names");
    if (std::string_view(chosen.name) != "llama") return;
    dump_roundings(checkpoint, stem);
    dump_split(checkpoint, stem);
}

void dump_container(const fs::path& folder) {
    using runtime::Storage;
    runtime::gguf::Header header;
    header.keys = {{"general.architecture", std::string("test")},
                   {"test.number", std::uint32_t{7}},
                   {"test.flag", true},
                   {"test.real", 1e-5F},
                   {"test.texts", runtime::gguf::Array(std::vector<std::string>{"a", "\u0120b"})}};
    const Shape shape{20, 3, 64};
    std::vector<float> values;
    for (index_t i = 0; i < shape.num_elements(); ++i) {
        // Magnitudes from subnormal halves to hundreds.
        const float scale = std::exp2(static_cast<float>(i / 64 % 36 - 28));
        values.push_back(scale * normal({1, 0, 0, RandomPurpose::test}, static_cast<std::uint64_t>(i)));
    }
    std::fill_n(values.begin(), 40, 0.0F);
    for (const Storage storage : runtime::kStorages)
        header.tensors.push_back({std::string(storage_name(storage)), shape, storage, 0});
    runtime::GgufWriter writer(folder / "container.gguf", header);
    for (const runtime::gguf::Tensor& tensor : header.tensors) {
        std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
        encode(tensor.storage, values, bytes);
        writer.append(tensor.name, bytes);
    }
    writer.finish();
    write_values<float>(folder / "container.f32", values);
}

void dump_values(const fs::path& file, const fs::path& out) {
    const runtime::GgufReader reader(file);
    std::vector<float> all;
    for (const runtime::gguf::Tensor& tensor : reader.header().tensors) {
        std::vector<float> values(static_cast<std::size_t>(tensor.shape.num_elements()));
        reader.read(tensor, 0, values);
        all.insert(all.end(), values.begin(), values.end());
    }
    write_values<float>(out, all);
}

/// Texts in form NFC, to which llama.cpp brings none, that pre-tokenizers cut in different ways.
std::vector<std::string> sentences() {
    return {"Hello world",
            " Hello  world   again ",
            "I'm here, YOU'RE there, he'll he'd we've 'tis O'Neill's",
            "In 1995 there were 12345678 of 3.14159 and 7",
            "one\ntwo\n\nthree\r\nfour\n \n\t\tfive   \n",
            "def f(x_1):\n    return {x_1: [1, 2]}  # ok!\n",
            "\u6f22\u5b57\u304b\u306a \u30ab\u30bf\u30ab\u30ca \ud55c\uad6d\uc5b4 \u0627\u0644\u0639 "
            "\u05e9\u05dc \u0928\u092e\u0938\u094d\u0924\u0947",
            "na\u00efve caf\u00e9 \u00dcber stra\u00dfe \u0416\u0443\u043a \u03b1\u03b2\u03b3",
            "\U0001f600\U0001f468\u200d\U0001f469 \u2764\ufe0f \u2014 \u201cquoted\u201d \u2026",
            "$100 + 50% = ??? !!! ...\n--- === ***",
            "the end",
            "\u00a0\u2003x\u3000y",
            "http://www.example.org/a?b=c&d=%20 e-mail@x.y"};
}

/// Texts with what is awkward in Unicode, beside which the sentences are: other forms of the same characters, ligatures and
/// full widths, marks without a letter, what joins and what directs, controls, numbers beyond 16 bits, long runs.
std::vector<std::string> awkward() {
    std::vector<std::string> texts = sentences();
    for (const char* const text :
         {"cafe\u0301 A\u030a \u00c5 \u212b e\u0327\u0301 \u1e9b\u0323",
          "\ufb01n \uff21\uff22\uff11 \u2460 \u00bd \u33a5 \u2122",
          "\u0301alone \u0e01\u0e33 \u1100\u1161\u11a8 \uac01",
          "\u200bzero\u200cwidth\u200djoin\ufeff \u00adsoft\u2060", "\u202eright\u202c \u061c \u2066x\u2069",
          "tab\there\x0b\x0c\x1f\x7f\u0085\u2028\u2029end",
          "\U0001d518\U0001d52b\U0001d526 \U00020000 \U0010ffff \ue000",
          "\U0001f1e9\U0001f1ea\U0001f1eb \U0001f44d\U0001f3fd",
          "\u0130I\u0131i \u1e9e\u00df \u03a3\u03c3\u03c2", "   ", "\t \n", "<s></s><unk><pad><0x41>[PAD600]",
          "\ufffd\ufffe"})
        texts.emplace_back(text);
    texts.push_back(std::string(300, 'a'));
    texts.push_back(std::string(40, ' ') + "x" + std::string(40, ' '));
    return texts;
}

void write_ids(const runtime::Tokenizer& tokenizer, const std::vector<std::string>& all,
               const fs::path& stem) {
    runtime::Json::Array texts;
    runtime::Json::Array ids;
    for (const std::string& text : all) {
        texts.push_back(text);
        ids.push_back(runtime::json_array(tokenizer.encode(text)));
    }
    std::ofstream(stem.string() + ".json")
        << runtime::Json(runtime::Json::Object{{"texts", std::move(texts)}, {"ids", std::move(ids)}}).text();
}

/// Exports a small model with a tokenizer to STEM.gguf. @return its checkpoint
fs::path export_with(const std::string& spec, const fs::path& stem) {
    Config config = config_of(kCases[0]);
    config.model.tied_head = true;
    // Some ids of a model are those of no token.
    config.model.vocab_size = round_up(runtime::make_tokenizer(spec)->vocab_size() + 1, 64);
    config.data.tokenizer = spec;
    const fs::path checkpoint = stem.string() + ".ckpt";
    write_random(config, checkpoint);
    for (const std::string& note : runtime::export_gguf(checkpoint, stem.string() + ".gguf", {}).notes)
        std::printf("note: %s\n", note.c_str());
    return checkpoint;
}

/// Exports a model with a tokenizer to STEM.gguf, imports it, and compares both.
void dump_tokenizer(const std::string& spec, const std::vector<std::string>& texts, const fs::path& stem) {
    const std::unique_ptr<runtime::Tokenizer> tokenizer = runtime::make_tokenizer(spec);
    const fs::path checkpoint = export_with(spec, stem);
    const fs::path again = stem.string() + ".again";
    runtime::import_gguf(stem.string() + ".gguf", again);
    check_same(checkpoint, again);
    const std::unique_ptr<runtime::Tokenizer> imported =
        runtime::make_tokenizer(again.string() + ".tokenizer");
    for (const std::string& text : texts)
        SY_REQUIRE(imported->encode(text) == tokenizer->encode(text), "the imported tokenizer differs in '",
                   text, "'");
    SY_REQUIRE(imported->end_of_text() == tokenizer->end_of_text(), "another end of text was imported");
    write_ids(*tokenizer, texts, stem);
}

void dump_wordpiece(const std::string& folder, const fs::path& stem) {
    const auto vocabulary_of = [](const fs::path& file) {
        std::ifstream text(file);
        const runtime::Json json = runtime::Json::parse(
            std::string(std::istreambuf_iterator<char>(text), std::istreambuf_iterator<char>()));
        std::map<std::string, std::int64_t> ids;
        for (const runtime::Json::Member& token : json.at("model").at("vocab").as_object())
            ids[token.name] = token.value.as_whole();
        return ids;
    };
    const auto vocabulary = vocabulary_of(fs::path(folder) / "tokenizer.json");
    Config config = config_of(*std::ranges::find(kCases, std::string_view("bert"), &Case::name));
    config.model.vocab_size = round_up(std::ssize(vocabulary) + 1, 64);
    config.data.tokenizer = folder;
    const fs::path checkpoint = stem.string() + ".ckpt";
    const fs::path again = stem.string() + ".again";
    write_random(config, checkpoint);
    runtime::export_gguf(checkpoint, stem.string() + ".gguf", {});
    runtime::import_gguf(stem.string() + ".gguf", again);
    check_same(checkpoint, again);
    SY_REQUIRE(vocabulary_of(again.string() + ".tokenizer/tokenizer.json") == vocabulary,
               "another vocabulary was imported");
}

#ifdef SY_HAS_SENTENCEPIECE
/// Kinds of models that llama.cpp has a tokenizer for.
struct SentencePieceCase {
    const char* name;
    const char* options;
};

const SentencePieceCase kSentencePieceCases[] = {
    {"bpe",
     "--model_type=bpe --byte_fallback=true --normalization_rule_name=identity "
     "--remove_extra_whitespaces=false"},
    {"bpe-no-prefix",
     "--model_type=bpe --byte_fallback=true --normalization_rule_name=identity "
     "--remove_extra_whitespaces=false --add_dummy_prefix=false --user_defined_symbols=<sep>,ten"},
    {"unigram", "--model_type=unigram"},
    {"unigram-plain",
     "--model_type=unigram --normalization_rule_name=identity --remove_extra_whitespaces=false "
     "--add_dummy_prefix=false --pad_id=3"},
};

void dump_sentencepiece(const fs::path& folder) {
    const std::string text = folder / "sentencepiece.txt";
    {
        std::ofstream file(text);
        for (int i = 0; i < 50; ++i)
            for (const std::string& sentence : sentences()) file << sentence << " " << i << "\n";
    }
    for (const SentencePieceCase& chosen : kSentencePieceCases) {
        const std::string stem = folder / concat("sentencepiece-", chosen.name);
        const sentencepiece::util::Status trained = sentencepiece::SentencePieceTrainer::Train(
            concat("--input=", text, " --model_prefix=", stem,
                   " --vocab_size=600 --hard_vocab_limit=false --minloglevel=2 --character_coverage=0.98 ",
                   chosen.options));
        SY_REQUIRE(trained.ok(), trained.ToString());
        dump_tokenizer(stem + ".model", awkward(), stem);
    }
}
#endif

int run(std::span<char* const> words) {
    const std::string_view mode = words.empty() ? "" : words[0];
    if (mode == "models" && words.size() == 2) {
        for (const Case& chosen : kCases) dump_case(chosen, words[1]);
    } else if (mode == "container" && words.size() == 2) {
        dump_container(words[1]);
    } else if (mode == "read" && words.size() == 3) {
        dump_values(words[1], words[2]);
    } else if (mode == "tokenizer" && words.size() == 3) {
        dump_tokenizer(words[1], sentences(), words[2]);
    } else if (mode == "wordpiece" && words.size() == 3) {
        dump_wordpiece(words[1], words[2]);
    } else if (mode == "sentencepiece" && words.size() == 2) {
#ifdef SY_HAS_SENTENCEPIECE
        dump_sentencepiece(words[1]);
#else
        return 77;
#endif
    } else {
        std::fprintf(
            stderr,
            "usage: gguf_dump models FOLDER | container FOLDER | read FILE OUT | tokenizer TOKENIZER STEM | "
            "wordpiece FOLDER STEM | sentencepiece FOLDER\n");
        return 2;
    }
    return 0;
}

}  // namespace
}  // namespace sy::test

int main(int argc, char** argv) {
    try {
        return sy::test::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "gguf_dump: %s\n", error.what());
        return 1;
    }
}
