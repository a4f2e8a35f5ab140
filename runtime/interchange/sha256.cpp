#include "runtime/interchange/sha256.hpp"

#include <openssl/evp.h>

#include <array>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

void check(bool done, const char* call) {
    if (!done) throw LogicError(concat(call, " of libcrypto failed"));
}

}  // namespace

struct Sha256::State {
    std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
    check(state_->context != nullptr, "EVP_MD_CTX_new");
    check(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) == 1, "EVP_DigestInit_ex");
}

Sha256::~Sha256() = default;

void Sha256::add(std::span<const std::byte> bytes) {
    check(EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) == 1, "EVP_DigestUpdate");
}

std::string Sha256::finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    check(EVP_DigestFinal_ex(state_->context.get(), digest.data(), &size) == 1, "EVP_DigestFinal_ex");
    constexpr const char* kDigits = "0123456789abcdef";
    std::string text;
    for (std::size_t i = 0; i < size; ++i) {
        text += kDigits[digest[i] >> 4];
        text += kDigits[digest[i] & 0xf];
    }
    return text;
}

}  // namespace sy::runtime
