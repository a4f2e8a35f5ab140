#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <set>
#include <utility>

#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

namespace sy::emulation {
namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

std::vector<std::shared_ptr<Capture>>& captures() {
    static std::vector<std::shared_ptr<Capture>> under_way;
    return under_way;
}

void end(Capture& capture) {
    capture.is_over = true;
    std::erase_if(captures(), [&](const auto& each) { return each.get() == &capture; });
}

/// Nodes that the last ones of the origin come after, and these.
std::set<std::size_t> joined_nodes(const Capture& capture) {
    std::vector<std::size_t> open = capture.last.at(capture.origin);
    std::set<std::size_t> joined;
    while (!open.empty()) {
        const std::size_t node = open.back();
        open.pop_back();
        if (!joined.insert(node).second) continue;
        const std::vector<std::size_t>& before = capture.nodes[node].after;
        open.insert(open.end(), before.begin(), before.end());
    }
    return joined;
}

/// Of a launched graph: what has run.
class Run {
  public:
    explicit Run(std::shared_ptr<const std::vector<Node>> nodes)
        : nodes_(std::move(nodes)), is_done_(nodes_->size(), false) {}

    /// Runs one node, in the order of the options among those whose turn may come. @return whether all have run
    bool advance() {
        std::vector<std::size_t> ready;
        for (std::size_t node = 0; node < nodes_->size(); ++node) {
            const std::vector<std::size_t>& before = (*nodes_)[node].after;
            if (!is_done_[node] && std::ranges::all_of(before, [&](std::size_t i) { return is_done_[i]; }))
                ready.push_back(node);
        }
        if (ready.empty()) return true;
        const std::size_t next = options().order == Order::fifo      ? ready.front()
                                 : options().order == Order::reverse ? ready.back()
                                                                     : ready[draw(ready.size())];
        is_done_[next] = (*nodes_)[next].poll();
        return std::ranges::all_of(is_done_, [](bool is_done) { return is_done; });
    }

  private:
    std::shared_ptr<const std::vector<Node>> nodes_;
    std::vector<bool> is_done_;
};

}  // namespace

void drop_captures() {
    while (!captures().empty()) end(*captures().back());
}

std::shared_ptr<Capture> capture_of(const CUstream_st* stream) {
    for (const std::shared_ptr<Capture>& capture : captures()) {
        if (capture->last.contains(const_cast<CUstream_st*>(stream))) return capture;
    }
    return nullptr;
}

bool is_capturing(cudaStream_t stream) {
    const Guard guard(runtime_mutex());
    return stream != nullptr && capture_of(stream) != nullptr;
}

cudaError_t capture_node(Capture& capture, CUstream_st& stream, Node node) {
    if (capture.is_invalid) return remember(cudaErrorStreamCaptureInvalidated);
    node.after = capture.last.at(&stream);
    capture.last.at(&stream) = {capture.nodes.size()};
    capture.nodes.push_back(std::move(node));
    return cudaSuccess;
}

cudaError_t refuse_captured(Capture& capture, const std::string& what, cudaError_t error) {
    report(what + " while a stream is captured");
    capture.is_invalid = true;
    return remember(error);
}

cudaError_t check_unsafe(const char* call) {
    const Guard guard(runtime_mutex());
    for (const std::shared_ptr<Capture>& capture : captures()) {
        const bool is_own = capture->thread == std::this_thread::get_id();
        if ((is_own && capture->mode != cudaStreamCaptureModeRelaxed) ||
            capture->mode == cudaStreamCaptureModeGlobal)
            return refuse_captured(*capture, call);
    }
    return cudaSuccess;
}

cudaError_t check_implicit() {
    for (const std::shared_ptr<Capture>& capture : captures()) {
        for (const auto& [stream, last] : capture->last) {
            if (stream->waits_for_default_stream)
                return refuse_captured(*capture, "work on the default stream, which waits for the others,",
                                       cudaErrorStreamCaptureImplicit);
        }
    }
    return cudaSuccess;
}

void record_captured(Capture& capture, CUstream_st& stream, CUevent_st& event) {
    event.capture = capture_of(&stream);
    event.after = capture.last.at(&stream);
}

cudaError_t wait_captured(CUstream_st& stream, const CUevent_st& event) {
    const std::shared_ptr<Capture> own = capture_of(&stream);
    const std::shared_ptr<Capture> of_event = event.capture;
    if (of_event == nullptr) {
        return refuse_captured(*own, "a wait for an event that was recorded before",
                               cudaErrorStreamCaptureIsolation);
    }
    if (of_event->is_over) {
        report("a wait for an event of a capture that is over");
        if (own != nullptr) own->is_invalid = true;
        return remember(cudaErrorCapturedEvent);
    }
    if (own != nullptr && own != of_event) {
        own->is_invalid = true;
        return refuse_captured(*of_event, "a wait for an event of another capture",
                               cudaErrorStreamCaptureMerge);
    }
    if (of_event->is_invalid) return remember(cudaErrorStreamCaptureInvalidated);
    if (&stream == find_stream(nullptr)) {
        return refuse_captured(*of_event, "a wait of the default stream for an event of a capture",
                               cudaErrorStreamCaptureUnsupported);
    }
    std::vector<std::size_t>& last = of_event->last[&stream];
    for (const std::size_t node : event.after) {
        if (std::ranges::find(last, node) == last.end()) last.push_back(node);
    }
    return cudaSuccess;
}

}  // namespace sy::emulation

struct CUgraph_st {
    std::shared_ptr<const std::vector<sy::emulation::Node>> nodes;
};
struct CUgraphExec_st {
    std::shared_ptr<const std::vector<sy::emulation::Node>> nodes;
    std::shared_ptr<bool> runs = std::make_shared<bool>(false);  ///< one launch at a time
};

using namespace sy::emulation;

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    CUstream_st* const stream = find_stream(handle);
    if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (stream == find_stream(nullptr)) {
        report("the default stream cannot be captured");
        return remember(cudaErrorStreamCaptureUnsupported);
    }
    if (capture_of(stream) != nullptr) return remember(cudaErrorIllegalState);
    auto capture = std::make_shared<Capture>();
    capture->origin = stream;
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->last[stream] = {};
    captures().push_back(std::move(capture));
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    const Guard guard(runtime_mutex());
    *graph = nullptr;
    const std::shared_ptr<Capture> capture = stream == nullptr ? nullptr : capture_of(stream);
    if (capture == nullptr) return remember(cudaErrorIllegalState);
    if (capture->mode != cudaStreamCaptureModeRelaxed && capture->thread != std::this_thread::get_id()) {
        return refuse_captured(*capture, "another thread than began it ends a capture",
                               cudaErrorStreamCaptureWrongThread);
    }
    if (capture->origin != stream) {
        return refuse_captured(*capture, "another stream than began it ends a capture",
                               cudaErrorStreamCaptureUnmatched);
    }
    end(*capture);
    if (capture->is_invalid) return remember(cudaErrorStreamCaptureInvalidated);
    if (joined_nodes(*capture).size() != capture->nodes.size()) {
        report(
            "a stream that was forked from a captured one has work that the captured one does not wait for");
        return remember(cudaErrorStreamCaptureUnjoined);
    }
    *graph = new CUgraph_st{std::make_shared<const std::vector<Node>>(std::move(capture->nodes))};
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
    const Guard guard(runtime_mutex());
    const std::shared_ptr<Capture> capture = stream == nullptr ? nullptr : capture_of(stream);
    *status = capture == nullptr    ? cudaStreamCaptureStatusNone
              : capture->is_invalid ? cudaStreamCaptureStatusInvalidated
                                    : cudaStreamCaptureStatusActive;
    return cudaSuccess;
}

/// The number alone: a node has no handle here.
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
    if (graph == nullptr || nodes != nullptr) return remember(cudaErrorInvalidValue);
    *count = graph->nodes->size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (graph == nullptr || flags != 0) return remember(cudaErrorInvalidValue);
    *exec = new CUgraphExec_st{graph->nodes};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    CUstream_st* const stream = find_stream(handle);
    if (exec == nullptr || stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (const std::shared_ptr<Capture> capture = capture_of(stream))
        return refuse_captured(*capture, "the launch of a graph (not emulated)");
    for (const Node& node : *exec->nodes) {
        const std::string problem = node.find_problem ? node.find_problem() : std::string();
        if (problem.empty()) continue;
        report(std::string("a graph is launched whose ") + node.name + " " + problem);
        break_device(cudaErrorIllegalAddress);
        return sticky_error();
    }
    ++counters().num_graph_launches;
    auto poll = [run = std::make_shared<Run>(exec->nodes), runs = exec->runs,
                 begun = std::make_shared<bool>(false)] {
        if (!*begun && *runs) return false;  // an earlier launch of it
        *begun = *runs = true;
        const bool is_done = run->advance();
        if (is_done) *runs = false;
        return is_done;
    };
    return enqueue(handle, "graph", std::move(poll));
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
    delete exec;  // what is queued holds its nodes
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    delete graph;  // as do the graphs that were made of it
    return cudaSuccess;
}

}  // extern "C"
