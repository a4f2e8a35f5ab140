#pragma once

#include <driver_types.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/cuda_on_cpu/emulation/engine/sanitizer.hpp"

/// Streams do nothing before something waits for them: a synchronisation that is missing gives a wrong answer each time,
/// not now and then.
namespace sy::emulation {

/// Of the calling thread.
int current_device();

/// Whether device memory is open while work runs, for which system calls are needed.
enum class Opens { memory, nothing };

/// As enqueue without `opens`, for work that needs no memory, or opens it by itself.
/// @param find_problem  asked at each launch of a graph that the work is part of; may be empty
cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<bool()> poll, Opens opens,
                    std::function<std::string()> find_problem = {});

struct Operation {
    const char* name;
    std::function<bool()> poll;
    std::uint64_t age;
    Opens opens;
};

struct Capture;

/// Of an event: what a wait waits for is the record that was last when it was called.
struct Record {
    bool is_done = false;
    std::chrono::steady_clock::time_point done_at;
    char order = 0;
};

}  // namespace sy::emulation

struct CUstream_st {
    int device = sy::emulation::current_device();
    std::deque<sy::emulation::Operation> queue;
    void* identity = sy::emulation::sanitizer::new_identity("CUDA stream");
    bool waits_for_default_stream = true;
    std::chrono::steady_clock::time_point advanced_at;  // when its oldest work was tried last
    char submit_order = 0;
    char end_order = 0;
};

struct CUevent_st {
    int device = sy::emulation::current_device();
    std::shared_ptr<sy::emulation::Record> last;
    std::shared_ptr<sy::emulation::Capture> capture;  // in which it was recorded last, or null
    std::vector<std::size_t> after;                   // nodes of that
    bool has_time = true;
};

namespace sy::emulation {

/// The stream of a handle; null, reported, for one that was destroyed or never made.
CUstream_st* find_stream(cudaStream_t handle);
/// Runs work until the stream has none, or until the deadline breaks the device. @return the sticky error
cudaError_t finish(CUstream_st& stream);
/// Drops what is queued.
void drop_all_work();

}  // namespace sy::emulation
