#include "runtime/tokenizer/bpe.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>

#include "runtime/json/utf8.hpp"

namespace sy::runtime {
namespace {

/// Up to this many symbols, looking through all pairs again and again beats a queue.
constexpr std::size_t kFewSymbols = 64;

constexpr std::uint64_t kMixer = 0x9e3779b97f4a7c15U;

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
    return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32U) | static_cast<std::uint32_t>(right);
}

std::uint64_t mix(std::uint64_t value) {
    value *= kMixer;
    return value ^ (value >> 29U);
}

/// @param word  of at least one byte
std::uint64_t hash_of(std::string_view word) {
    std::uint64_t hash = word.size();
    for (; word.size() >= 8; word.remove_prefix(8)) {
        std::uint64_t part = 0;
        std::memcpy(&part, word.data(), 8);
        hash = mix(hash ^ part);
    }
    std::uint64_t part = 0;
    std::memcpy(&part, word.data(), word.size());
    return mix(mix(hash ^ part));
}

std::int32_t token_of(std::uint64_t merge) {
    return static_cast<std::int32_t>(merge & 0xffffffffU);
}

}  // namespace

BytePairEncoder::BytePairEncoder(BpeRules rules)
    : rules_(std::move(rules)), table_(std::bit_ceil(2 * rules_.merges.size() + 2)) {
    if (rules_.base == BaseSymbols::bytes) {
        for (std::size_t byte = 0; byte < byte_ids_.size(); ++byte)
            byte_ids_[byte] = rules_.ids.at(std::string(1, static_cast<char>(byte)));
    }
    for (std::size_t rank = 0; rank < rules_.merges.size(); ++rank) {
        const MergeRule& rule = rules_.merges[rank];
        const std::uint64_t pair = pair_of(rule.left, rule.right);
        std::size_t slot = mix(pair) & (table_.size() - 1);
        while (table_[slot].pair != kNoMerge && table_[slot].pair != pair)
            slot = (slot + 1) & (table_.size() - 1);
        // If two rules are for one pair, the later one counts, as in the Rust library.
        table_[slot] = {pair, (std::uint64_t{rank} << 32U) | static_cast<std::uint32_t>(rule.merged)};
    }
    rules_.merges.clear();
    rules_.merges.shrink_to_fit();
}

BytePairEncoder::Merge BytePairEncoder::merge_of(std::int32_t left, std::int32_t right) const {
    const std::uint64_t pair = pair_of(left, right);
    std::size_t slot = mix(pair) & (table_.size() - 1);
    while (table_[slot].pair != pair) {
        if (table_[slot].pair == kNoMerge) return kNoMerge;
        slot = (slot + 1) & (table_.size() - 1);
    }
    return table_[slot].merge;
}

void BytePairEncoder::append(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& ids) const {
    if (word.empty()) return;
    if (word.size() == 1 && rules_.base == BaseSymbols::bytes) {
        ids.push_back(byte_ids_[static_cast<unsigned char>(word.front())]);
        return;
    }
    if (word.size() > Scratch::kWordBytes) {
        encode(word, scratch);
        ids.insert(ids.end(), scratch.symbols_.begin(), scratch.symbols_.end());
        return;
    }
    Scratch::Slot& slot = scratch.slots_[hash_of(word) & (Scratch::kSlots - 1)];
    if (slot.num_bytes != word.size() || std::memcmp(slot.bytes.data(), word.data(), word.size()) != 0) {
        encode(word, scratch);
        if (scratch.symbols_.size() > Scratch::kWordTokens) {
            ids.insert(ids.end(), scratch.symbols_.begin(), scratch.symbols_.end());
            return;
        }
        slot.num_bytes = static_cast<std::uint8_t>(word.size());
        slot.num_tokens = static_cast<std::uint8_t>(scratch.symbols_.size());
        std::ranges::copy(word, slot.bytes.begin());
        std::ranges::copy(scratch.symbols_, slot.tokens.begin());
    }
    ids.insert(ids.end(), slot.tokens.begin(), slot.tokens.begin() + slot.num_tokens);
}

void BytePairEncoder::encode(std::string_view word, Scratch& scratch) const {
    std::vector<std::int32_t>& symbols = scratch.symbols_;
    symbols.clear();
    if (rules_.ignore_merges == IgnoreMerges::for_whole_words) {
        const auto whole = rules_.ids.find(std::string(word));
        if (whole != rules_.ids.end()) {
            symbols.push_back(whole->second);
            return;
        }
    }
    if (rules_.base == BaseSymbols::bytes) {
        for (const char byte : word) symbols.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    } else {
        set_characters(word, symbols);
    }
    if (symbols.size() <= kFewSymbols) {
        merge_few(scratch);
    } else {
        merge_many(scratch);
    }
}

void BytePairEncoder::set_characters(std::string_view word, std::vector<std::int32_t>& symbols) const {
    bool after_unknown = false;
    for (std::size_t place = 0; place < word.size();) {
        const std::size_t length = std::max<std::size_t>(1, character_bytes(word, place));
        const std::string_view character = word.substr(place, length);
        place += length;
        const auto found = rules_.ids.find(std::string(character));
        const bool is_unknown = found == rules_.ids.end() && !rules_.byte_fallback;
        if (found != rules_.ids.end()) {
            symbols.push_back(found->second);
        } else if (rules_.byte_fallback) {
            for (const char byte : character)
                symbols.push_back((*rules_.byte_fallback)[static_cast<unsigned char>(byte)]);
        } else if (!rules_.unknown) {
            throw IoError(concat("tokenizer: the character ", escaped(character),
                                 " has no token, and the tokenizer's file names no unk_token; take one that "
                                 "knows all bytes"));
        } else if (!after_unknown || !rules_.fuse_unknown) {
            symbols.push_back(*rules_.unknown);
        }
        after_unknown = is_unknown;
    }
}

void BytePairEncoder::merge_few(Scratch& scratch) const {
    std::vector<std::int32_t>& symbols = scratch.symbols_;
    if (symbols.size() < 2) return;
    std::vector<Merge>& pairs = scratch.pairs_;
    pairs.resize(symbols.size() - 1);
    for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = merge_of(symbols[i], symbols[i + 1]);
    std::size_t num_pairs = pairs.size();
    while (num_pairs > 0) {
        std::size_t best = 0;
        for (std::size_t i = 1; i < num_pairs; ++i)
            if (pairs[i] < pairs[best]) best = i;
        if (pairs[best] == kNoMerge) break;
        symbols[best] = token_of(pairs[best]);
        --num_pairs;
        for (std::size_t i = best + 1; i <= num_pairs; ++i) symbols[i] = symbols[i + 1];
        for (std::size_t i = best; i < num_pairs; ++i) pairs[i] = pairs[i + 1];
        if (best > 0) pairs[best - 1] = merge_of(symbols[best - 1], symbols[best]);
        if (best < num_pairs) pairs[best] = merge_of(symbols[best], symbols[best + 1]);
    }
    symbols.resize(num_pairs + 1);
}

void BytePairEncoder::merge_many(Scratch& scratch) const {
    struct Candidate {
        Merge merge;
        std::int32_t place;
        std::uint64_t pair;
        bool operator>(const Candidate& other) const {
            return merge != other.merge ? merge > other.merge : place > other.place;
        }
    };
    constexpr std::int32_t kGone = -1;
    std::vector<std::int32_t>& symbols = scratch.symbols_;
    std::vector<std::int32_t>& before = scratch.before_;
    std::vector<std::int32_t>& after = scratch.after_;
    const auto size = narrow<std::int32_t>(symbols.size());
    before.resize(symbols.size());
    after.resize(symbols.size());
    const auto at = [](std::int32_t place) { return static_cast<std::size_t>(place); };
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto push = [&](std::int32_t left, std::int32_t right) {
        const Merge merge = merge_of(symbols[at(left)], symbols[at(right)]);
        if (merge != kNoMerge) queue.push({merge, left, pair_of(symbols[at(left)], symbols[at(right)])});
    };
    for (std::int32_t place = 0; place < size; ++place) {
        before[at(place)] = place - 1;
        after[at(place)] = place + 1;
        if (place > 0) push(place - 1, place);
    }
    while (!queue.empty()) {
        const Candidate best = queue.top();
        queue.pop();
        // A candidate of which either half has been merged since is out of date.
        if (symbols[at(best.place)] == kGone) continue;
        const std::int32_t next = after[at(best.place)];
        if (next == size || pair_of(symbols[at(best.place)], symbols[at(next)]) != best.pair) continue;
        symbols[at(best.place)] = token_of(best.merge);
        symbols[at(next)] = kGone;
        const std::int32_t beyond = after[at(next)];
        after[at(best.place)] = beyond;
        if (beyond < size) {
            before[at(beyond)] = best.place;
            push(best.place, beyond);
        }
        if (before[at(best.place)] >= 0) push(before[at(best.place)], best.place);
    }
    std::erase(symbols, kGone);
}

}  // namespace sy::runtime
