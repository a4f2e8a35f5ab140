#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace sy::runtime {

/// SHA-256 of bytes that come piece by piece. @throws LogicError when the library fails
class Sha256 {
  public:
    Sha256();
    ~Sha256();
    Sha256(const Sha256&) = delete;
    Sha256& operator=(const Sha256&) = delete;

    void add(std::span<const std::byte> bytes);
    /// The digest as 64 hexadecimal digits. Called once.
    std::string finish();

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace sy::runtime
