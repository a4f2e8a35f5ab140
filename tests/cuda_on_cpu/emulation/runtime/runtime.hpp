#pragma once

#include <driver_types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

/// The emulated runtime as tests, and the stand-ins for NVIDIA's libraries, see it.
namespace sy::emulation {

/// Held by every call of the runtime and while work of a stream runs.
std::recursive_mutex& runtime_mutex();

/// Puts work on a stream. `poll` runs when the stream reaches it, and again until it returns true, with device memory open.
/// @param name  what a report calls it; has to outlive it
/// @return      the sticky error, if a fault has happened before
cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<bool()> poll);

/// Whether all the bytes are in one live allocation of device memory, or of pinned memory of the host.
bool is_device(const void* first, std::size_t bytes = 1);
bool is_pinned(const void* first, std::size_t bytes = 1);
/// Whether the address is one that device memory could have, live or not.
bool is_device_address(const void* at);

/// Whether the process has memory there, of the host alone: no kernel can follow the address.
bool is_pageable_address(const void* at);

/// What was called since the counters were last set to {}.
struct Counters {
    std::int64_t num_launches = 0;  ///< of kernels, those in graphs left out
    std::int64_t num_graph_launches = 0;
    std::int64_t num_finished = 0;  ///< of what was queued in streams
    std::int64_t num_copies = 0;
    std::int64_t num_allocations = 0;  ///< of device and of pinned memory
    /// Calls in which the host waited for the device: synchronisations, cudaFree, copies from or to pageable memory.
    std::int64_t num_host_waits = 0;
    std::int64_t num_unfinished_queries =
        0;  ///< queries of streams and events that were answered "not ready"
    std::int64_t num_default_stream_calls = 0;
};
Counters& counters();

/// Says on stderr what is wrong, and keeps it for last_report().
void report(const std::string& text);
/// What was last reported, such as a fault of a kernel; empty if nothing was.
const std::string& last_report();
/// From now on every call returns this error, as after a fault of a kernel or a broken device.
void break_device(cudaError_t error);
/// Forgets error, report and queued work, as no real device can: for tests that go on after a fault they planted.
void recover();

/// Keeps an error for cudaGetLastError and returns it.
cudaError_t remember(cudaError_t error);
/// cudaSuccess, or what break_device was told.
cudaError_t sticky_error();

/// Runs what is queued until all streams are empty. @return the sticky error
cudaError_t finish_all();

}  // namespace sy::emulation
