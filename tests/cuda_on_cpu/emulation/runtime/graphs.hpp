#pragma once

#include <driver_types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

/// Streams that are captured: what is queued on them becomes a graph, and nothing of it runs before the graph is launched. What
/// a capture forbids is refused, and ends it, as CUDA's documentation of cudaThreadExchangeStreamCaptureMode and of
/// cudaStreamBeginCapture says.
namespace sy::emulation {

/// A piece of work of a graph. It runs at each launch, after the nodes that it names.
struct Node {
    const char* name = "";
    std::function<bool()> poll;
    Opens opens = Opens::memory;
    std::vector<std::size_t> after;
    /// What at a launch is wrong with the memory that it works on, or the empty text. It may have been freed since it was captured.
    std::function<std::string()> find_problem;
};

struct Capture {
    CUstream_st* origin = nullptr;
    cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
    std::thread::id thread;
    bool is_invalid = false;
    bool is_over = false;
    std::vector<Node> nodes;
    /// The streams that take part, each with the nodes after which what is queued on it comes.
    std::map<CUstream_st*, std::vector<std::size_t>> last;
};

/// The capture of a stream; null: it is not captured.
std::shared_ptr<Capture> capture_of(const CUstream_st* stream);
bool is_capturing(cudaStream_t stream);

/// Adds work to the capture of a stream.
cudaError_t capture_node(Capture& capture, CUstream_st& stream, Node node);
/// Refuses what a captured stream cannot take, ends the capture, and says so.
cudaError_t refuse_captured(Capture& capture, const std::string& what,
                            cudaError_t error = cudaErrorStreamCaptureUnsupported);
/// Whether a call that may be unsafe (an allocation, a query, a synchronisation) is refused to this thread, because it or,
/// in global mode, any thread captures. Ends that capture.
cudaError_t check_unsafe(const char* call);
/// Whether work on the default stream would have to wait for a captured stream. Ends that capture.
cudaError_t check_implicit();

/// Ends all captures.
void drop_captures();

/// An event is recorded on a captured stream, or a stream waits for an event of a capture.
void record_captured(Capture& capture, CUstream_st& stream, CUevent_st& event);
cudaError_t wait_captured(CUstream_st& stream, const CUevent_st& event);

}  // namespace sy::emulation
