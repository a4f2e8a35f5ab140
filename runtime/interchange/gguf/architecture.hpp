#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/config/config.hpp"
#include "runtime/interchange/foreign_model.hpp"
#include "runtime/interchange/gguf.hpp"
#include "runtime/interchange/model_builder.hpp"

/// The architectures of llama.cpp: what each can express of a model, its keys and its tensors.
namespace sy::runtime::gguf {

/// Keys of a file. Numbers are unsigned of 32 bits, or floats.
class KeyList {
  public:
    explicit KeyList(std::string_view architecture) : architecture_(architecture) {}
    void text(const std::string& name, std::string value) { keys_.push_back({own(name), std::move(value)}); }
    void number(const std::string& name, index_t value);
    void real(const std::string& name, double value);
    void flag(const std::string& name, bool value) { keys_.push_back({own(name), value}); }
    /// A key that is not the architecture's own. @param name  whole
    void other(const std::string& name, Value value) { keys_.push_back({name, std::move(value)}); }
    std::vector<Key> take() { return std::move(keys_); }

  private:
    /// ARCHITECTURE.name
    std::string own(const std::string& name) const { return architecture_ + "." + name; }

    std::string architecture_;
    std::vector<Key> keys_;
};

/// The keys of someone else's file, by name without the architecture.
class KeyReader {
  public:
    KeyReader(const Header& header, std::string_view architecture)
        : header_(header), architecture_(architecture) {}
    bool has(const std::string& name) const { return find(name) != nullptr; }
    /// @throws IoError where there is no such number
    index_t number(const std::string& name) const;
    index_t number_or(const std::string& name, index_t otherwise) const;
    /// The shortest decimal that is this float.
    double real(const std::string& name) const;
    double real_or(const std::string& name, double otherwise) const;
    bool flag_or(const std::string& name, bool otherwise) const;
    const Header& header() const { return header_; }
    /// Whether a tensor is there.
    bool has_tensor(std::string_view name) const;

  private:
    const Value* find(const std::string& name) const { return header_.find(architecture_ + "." + name); }

    const Header& header_;
    std::string architecture_;
};

/// What a graph ends with. One that ends with hidden states has no place for a head.
enum class Output { logits, hidden_states };

struct Architecture {
    std::string_view name;
    /// Every setting that it cannot express; empty when it computes the model exactly.
    std::vector<std::string> (*problems)(const Config& config);
    void (*add_keys)(const Config& config, KeyList& keys);
    void (*add_tensors)(const Config& config, ModelBuilder& builder);
    /// The settings of a file that has these keys.
    void (*read_settings)(const KeyReader& keys, Config& config);
    Output output = Output::logits;
};

/// In the order in which they are tried: those of fixed routing before those whose routing is all metadata.
std::span<const Architecture> architectures();

extern const Architecture kLlama;
extern const Architecture kQwen3Moe;
extern const Architecture kGlm4Moe;
extern const Architecture kDeepseek2;
extern const Architecture kGemma2;
extern const Architecture kGpt2;
extern const Architecture kBloom;
extern const Architecture kDbrx;
extern const Architecture kGrok;
extern const Architecture kOlmoe;
extern const Architecture kQwen2Moe;
extern const Architecture kT5;
extern const Architecture kBert;

}  // namespace sy::runtime::gguf
