#pragma once

#include <algorithm>
#include <concepts>
#include <initializer_list>
#include <ranges>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/core/types.hpp"

/// Values along one axis, numbered by index_t: a vector and a span that know whether they hold a value per token, per
/// expert or per rank. Those of different axes cannot be assigned or passed for each other; leaving the axis out (to
/// a std::span) is implicit, and so is giving one to a vector or span that has none, where a view is expected.
///
/// An axis is a name: `struct TokenAxis;` with `template <class T> using PerToken = Indexed<TokenAxis, T>;` and
/// `template <class T> using PerTokenSpan = IndexedSpan<TokenAxis, T>;`, in the folder that knows the word.
namespace sy {

template <class Axis, class T>
class IndexedSpan;

/// A vector of values along an axis. Positions are checked where SY_ASSERT is.
template <class Axis, class T>
class Indexed {
  public:
    using axis_type = Axis;
    using value_type = T;
    using reference = typename std::vector<T>::reference;
    using const_reference = typename std::vector<T>::const_reference;

    Indexed() = default;
    explicit Indexed(index_t size) : values_(static_cast<std::size_t>(size)) {}
    Indexed(index_t size, const T& value) : values_(static_cast<std::size_t>(size), value) {}
    Indexed(std::initializer_list<T> values) : values_(values) {}
    explicit Indexed(std::vector<T> values) : values_(std::move(values)) {}

    index_t size() const { return static_cast<index_t>(values_.size()); }
    bool empty() const { return values_.empty(); }
    reference operator[](index_t idx) { return values_[place(idx)]; }
    const_reference operator[](index_t idx) const { return values_[place(idx)]; }
    reference front() { return (*this)[0]; }
    const_reference front() const { return (*this)[0]; }
    reference back() { return (*this)[size() - 1]; }
    const_reference back() const { return (*this)[size() - 1]; }
    T* data() { return values_.data(); }
    const T* data() const { return values_.data(); }
    auto begin() { return values_.begin(); }
    auto begin() const { return values_.begin(); }
    auto end() { return values_.end(); }
    auto end() const { return values_.end(); }

    void push_back(T value) { values_.push_back(std::move(value)); }
    template <class... Parts>
    reference emplace_back(Parts&&... parts) {
        return values_.emplace_back(std::forward<Parts>(parts)...);
    }
    void reserve(index_t size) { values_.reserve(static_cast<std::size_t>(size)); }
    void resize(index_t size) { values_.resize(static_cast<std::size_t>(size)); }
    void resize(index_t size, const T& value) { values_.resize(static_cast<std::size_t>(size), value); }
    void assign(index_t size, const T& value) { values_.assign(static_cast<std::size_t>(size), value); }
    void clear() { values_.clear(); }

    bool operator==(const Indexed&) const = default;
    bool operator==(const std::vector<T>& values) const { return values_ == values; }

  private:
    std::size_t place(index_t idx) const {
        SY_ASSERT(idx >= 0 && idx < size(), "indexed values: ", idx, " of ", size());
        return static_cast<std::size_t>(idx);
    }

    std::vector<T> values_;
};

namespace detail {
template <class Values>
concept HasAxis = requires {
    typename std::remove_cvref_t<Values>::axis_type;
};
template <class Values, class T>
concept WithoutAxis = !HasAxis<Values> && std::constructible_from<std::span<T>, Values> &&
                      std::ranges::contiguous_range<Values>;
}  // namespace detail

/// A borrower of values along an axis. Positions are checked where SY_ASSERT is.
template <class Axis, class T>
class IndexedSpan {
  public:
    using axis_type = Axis;
    using element_type = T;
    using value_type = std::remove_cv_t<T>;

    IndexedSpan() = default;
    /// Values that name no axis get this one.
    template <class Values>
    requires detail::WithoutAxis<Values, T> IndexedSpan(Values&& values)
        : values_(std::forward<Values>(values)) {}
    IndexedSpan(Indexed<Axis, value_type>& values) : values_(values) {}
    IndexedSpan(const Indexed<Axis, value_type>& values) requires std::is_const_v<T> : values_(values) {}
    /// A span of constants from a span of variables.
    IndexedSpan(const IndexedSpan<Axis, value_type>& values) requires std::is_const_v<T> : values_(values) {}

    index_t size() const { return static_cast<index_t>(values_.size()); }
    bool empty() const { return values_.empty(); }
    T& operator[](index_t idx) const {
        SY_ASSERT(idx >= 0 && idx < size(), "indexed values: ", idx, " of ", size());
        return values_[static_cast<std::size_t>(idx)];
    }
    T& front() const { return (*this)[0]; }
    T& back() const { return (*this)[size() - 1]; }
    T* data() const { return values_.data(); }
    auto begin() const { return values_.begin(); }
    auto end() const { return values_.end(); }
    /// Those of a range, numbered from 0 on.
    IndexedSpan part(Range range) const {
        SY_ASSERT(range.begin >= 0 && range.begin <= range.end && range.end <= size(),
                  "indexed values: ", range.begin, " to ", range.end, " of ", size());
        return values_.subspan(static_cast<std::size_t>(range.begin), static_cast<std::size_t>(range.size()));
    }

  private:
    std::span<T> values_;
};

struct TokenAxis;
struct RowAxis;
struct SlotAxis;
struct ExpertAxis;

template <class T>
using PerToken = Indexed<TokenAxis, T>;
template <class T>
using PerTokenSpan = IndexedSpan<TokenAxis, T>;
template <class T>
using PerRow = Indexed<RowAxis, T>;
template <class T>
using PerRowSpan = IndexedSpan<RowAxis, T>;
template <class T>
using PerSlot = Indexed<SlotAxis, T>;
template <class T>
using PerSlotSpan = IndexedSpan<SlotAxis, T>;
template <class T>
using PerExpert = Indexed<ExpertAxis, T>;
template <class T>
using PerExpertSpan = IndexedSpan<ExpertAxis, T>;

}  // namespace sy

template <class Axis, class T>
inline constexpr bool std::ranges::enable_borrowed_range<sy::IndexedSpan<Axis, T>> = true;
