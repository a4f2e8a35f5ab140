#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "kernels/core/indexed.hpp"

/// Items of several groups one after another, described by where each group begins: [groups + 1] ascending offsets.
namespace sy {

/// Items of a group.
inline Range group_of(std::span<const index_t> offsets, index_t group) {
    SY_ASSERT(group >= 0 && group + 1 < static_cast<index_t>(offsets.size()), "offsets: group ", group,
              " of ", offsets.size(), " offsets");
    const auto place = static_cast<std::size_t>(group);
    return {offsets[place], offsets[place + 1]};
}

/// values[range.begin .. range.end)
template <class T>
std::span<T> part(std::span<T> values, Range range) {
    SY_ASSERT(
        range.begin >= 0 && range.begin <= range.end && range.end <= static_cast<index_t>(values.size()),
        "part of ", values.size(), " values: ", range.begin, " to ", range.end);
    return values.subspan(static_cast<std::size_t>(range.begin), static_cast<std::size_t>(range.size()));
}

/// Offsets that ascend from 0, of groups along an axis.
template <class Axis>
class Offsets {
  public:
    using axis_type = Axis;

    /// No group.
    Offsets() = default;
    /// @param edges  [groups + 1] @throws LogicError when they do not ascend from 0
    explicit Offsets(std::vector<index_t> edges) : edges_(std::move(edges)) {
        SY_REQUIRE(!edges_.empty() && edges_.front() == 0 && std::is_sorted(edges_.begin(), edges_.end()),
                   "offsets: ", edges_.size(), " that do not ascend from 0");
    }
    /// Offsets of groups with so many items each.
    static Offsets of_counts(IndexedSpan<Axis, const index_t> counts) {
        Offsets offsets;
        offsets.reserve(counts.size());
        for (const index_t count : counts) offsets.append(count);
        return offsets;
    }

    void reserve(index_t num_groups) { edges_.reserve(static_cast<std::size_t>(num_groups) + 1); }
    /// One more group.
    void append(index_t count) {
        SY_ASSERT(count >= 0, "offsets: a group of ", count);
        edges_.push_back(edges_.back() + count);
    }

    index_t num_groups() const { return static_cast<index_t>(edges_.size()) - 1; }
    /// Items of all groups.
    index_t total() const { return edges_.back(); }
    /// Items of a group.
    Range operator[](index_t group) const { return group_of(edges_, group); }
    /// Where each group begins.
    Indexed<Axis, index_t> begins() const {
        return Indexed<Axis, index_t>(std::vector<index_t>(edges_.begin(), edges_.end() - 1));
    }
    /// When an item has `factor` parts.
    Offsets scaled(index_t factor) const {
        Offsets result(*this);
        for (index_t& edge : result.edges_) edge *= factor;
        return result;
    }
    /// [groups + 1], as operations take them.
    std::span<const index_t> edges() const { return edges_; }
    operator std::span<const index_t>() const { return edges_; }

    bool operator==(const Offsets&) const = default;
    bool operator==(const std::vector<index_t>& edges) const { return edges_ == edges; }

  private:
    std::vector<index_t> edges_{0};
};

}  // namespace sy
