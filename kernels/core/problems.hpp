#pragma once

#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "kernels/core/error.hpp"

namespace sy {

/// What is wrong with something from outside, collected so that its user reads all of it at once.
class Problems {
  public:
    /// @param sentence  what is wrong, with its values and a remedy: pieces as of concat
    template <class... Pieces>
    void require(bool good, const Pieces&... sentence) {
        if (!good) add(sentence...);
    }
    template <class... Pieces>
    void add(const Pieces&... sentence) {
        sentences_.push_back(concat(sentence...));
    }
    void add_all(std::vector<std::string> sentences) {
        sentences_.insert(sentences_.end(), std::move_iterator(sentences.begin()),
                          std::move_iterator(sentences.end()));
    }
    /// Runs `check`, whose ConfigError is one more problem.
    template <class Check>
    void add_failure(const Check& check) {
        try {
            check();
        } catch (const ConfigError& error) {
            add_all(error.problems());
        }
    }
    /// @throws ConfigError when there are any
    void throw_if_any() const {
        if (!sentences_.empty()) throw ConfigError(sentences_);
    }
    std::vector<std::string> take() { return std::move(sentences_); }

  private:
    std::vector<std::string> sentences_;
};

}  // namespace sy
