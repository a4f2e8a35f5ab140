#include "model/moe/selection.hpp"

#include <bit>
#include <cmath>

#include "comm/collectives.hpp"

namespace sy::model {
namespace {

constexpr int kDigitBits = 4;
constexpr std::size_t kDigits = std::size_t{1} << kDigitBits;
constexpr int kKeyBits = 32;

/// The lowest key that may win in each bin, and how many of that key do.
class Thresholds {
  public:
    Thresholds(const Contest& contest, comm::Communicator* ranks)
        : contest_(contest),
          ranks_(ranks),
          key_(contest.places.size(), 0),
          left_(contest.places.begin(), contest.places.end()),
          open_(contest.places.size(), 0) {
        for (int shift = kKeyBits - kDigitBits; shift >= 0; shift -= kDigitBits) {
            if (!narrow_down(shift)) return;
        }
    }

    std::vector<std::uint8_t> winners() const {
        std::vector<std::uint8_t> won(contest_.bin.size(), 0);
        std::vector<index_t> equal(key_.size(), 0);
        for_contenders([&](std::size_t i, std::size_t bin) {
            const std::uint32_t key = score_key(contest_.score[i]);
            won[i] = open_[bin] != 0 || key > key_[bin] ? 1 : 0;
            if (won[i] == 0 && key == key_[bin]) ++equal[bin];
        });
        if (all_open()) return won;
        std::vector<index_t> next(equal.size(), 0);
        if (ranks_ != nullptr) {
            next = equal;
            comm::exscan(*ranks_, std::span<index_t>(next));
        }
        for_contenders([&](std::size_t i, std::size_t bin) {
            if (open_[bin] != 0 || score_key(contest_.score[i]) != key_[bin]) return;
            won[i] = next[bin]++ < left_[bin] ? 1 : 0;
        });
        return won;
    }

  private:
    template <class Body>
    void for_contenders(const Body& body) const {
        for (std::size_t i = 0; i < contest_.bin.size(); ++i) {
            if (contest_.bin[i] >= 0) body(i, static_cast<std::size_t>(contest_.bin[i]));
        }
    }

    bool all_open() const {
        for (const std::uint8_t open : open_) {
            if (open == 0) return false;
        }
        return true;
    }

    /// Fixes the next digit of every threshold. @return whether another may matter
    bool narrow_down(int shift) {
        const bool first = shift == kKeyBits - kDigitBits;
        std::vector<index_t> count(key_.size() * kDigits, 0);
        for_contenders([&](std::size_t i, std::size_t bin) {
            const std::uint32_t key = score_key(contest_.score[i]);
            const bool matches = first || ((key ^ key_[bin]) >> (shift + kDigitBits)) == 0;
            if (matches && open_[bin] == 0) ++count[bin * kDigits + ((key >> shift) % kDigits)];
        });
        if (ranks_ != nullptr) comm::all_reduce(*ranks_, std::span<index_t>(count));
        for (std::size_t bin = 0; bin < key_.size(); ++bin) {
            if (open_[bin] != 0) continue;
            std::size_t digit = kDigits;
            while (digit > 0 && count[bin * kDigits + digit - 1] <= left_[bin])
                left_[bin] -= count[bin * kDigits + --digit];
            // From the second digit on, more contenders match than there are places left.
            if (digit == 0) {
                open_[bin] = 1;
            } else {
                key_[bin] |= static_cast<std::uint32_t>(digit - 1) << shift;
            }
        }
        return !first || !all_open();
    }

    const Contest& contest_;
    comm::Communicator* ranks_;
    std::vector<std::uint32_t> key_;
    std::vector<index_t> left_;
    std::vector<std::uint8_t> open_;  ///< [B] 1: room for all
};

}  // namespace

std::uint32_t score_key(float score) {
    if (std::isnan(score)) return 0;
    // Adding zero makes one zero of two.
    const auto bits = std::bit_cast<std::uint32_t>(score + 0.0F);
    constexpr std::uint32_t kSign = 0x80000000U;
    return (bits & kSign) != 0 ? ~bits : bits | kSign;
}

std::vector<std::uint8_t> select_best(const Contest& contest, comm::Communicator* ranks) {
    SY_REQUIRE(contest.bin.size() == contest.score.size(), "selection: ", contest.bin.size(),
               " contenders with ", contest.score.size(), " scores");
    return Thresholds(contest, ranks).winners();
}

}  // namespace sy::model
