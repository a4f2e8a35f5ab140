#pragma once

#include <cstring>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

/// cudaLaunchKernelEx with the kernel's own types of arguments, so that they can be checked.
namespace sy::emulation {

/// @param find_bad  an argument that no kernel can follow, or null: asked again at each launch of a graph
cudaError_t enqueue_kernel(const cudaLaunchConfig_t& config, const void* function, std::function<void()> body,
                           std::function<const void*()> find_bad = {});
/// Reports a pointer that no kernel can follow: pageable memory of the host, or device memory that is not live.
cudaError_t refuse_argument(std::size_t index, const void* pointer);

/// What of an argument no kernel can follow, or null: a pointer, or a word inside a closure or a view that is an address
/// of device memory which is not live, or of the host's memory that is not pinned.
template <typename T>
const void* find_bad_pointer(const T& argument) {
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>) {
        const bool is_good = argument == nullptr || is_device(argument, 0) || is_pinned(argument, 0);
        return is_good ? nullptr : argument;
    } else {
        // What is left in gaps between members by chance may look like an address.
        T without_gaps(argument);
        __builtin_clear_padding(&without_gaps);
        for (std::size_t at = 0; at + sizeof(void*) <= sizeof(T); at += alignof(void*)) {
            const void* word = nullptr;
            std::memcpy(&word, reinterpret_cast<const char*>(&without_gaps) + at, sizeof word);
            if (is_device_address(word) ? !is_device(word, 0) : is_pageable_address(word)) return word;
        }
        return nullptr;
    }
}

}  // namespace sy::emulation

template <typename... Parameters, typename... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
    static_assert((std::is_trivially_copyable_v<std::remove_cvref_t<Parameters>> && ...),
                  "arguments of a kernel are copied as bytes");
    const std::tuple<std::remove_cv_t<Parameters>...> copies{static_cast<Parameters>(arguments)...};
    std::size_t index = 0;
    const void* bad = nullptr;
    const auto look_at = [&](const auto& copy) {
        if (bad != nullptr) return;
        bad = sy::emulation::find_bad_pointer(copy);
        if (bad == nullptr) ++index;
    };
    std::apply([&](const auto&... copy) { (look_at(copy), ...); }, copies);
    if (bad != nullptr) return sy::emulation::refuse_argument(index, bad);
    const auto find_bad = [copies]() -> const void* {
        const void* first = nullptr;
        const auto look = [&](const auto& copy) {
            if (first == nullptr) first = sy::emulation::find_bad_pointer(copy);
        };
        std::apply([&](const auto&... copy) { (look(copy), ...); }, copies);
        return first;
    };
    return sy::emulation::enqueue_kernel(
        *config, reinterpret_cast<const void*>(kernel), [kernel, copies] { std::apply(kernel, copies); },
        find_bad);
}
