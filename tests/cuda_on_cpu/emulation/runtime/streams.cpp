#include "tests/cuda_on_cpu/emulation/runtime/streams.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/cuda_on_cpu/emulation/engine/engine.hpp"
#include "tests/cuda_on_cpu/emulation/engine/options.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/graphs.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/memory.hpp"
#include "tests/cuda_on_cpu/emulation/runtime/runtime.hpp"

namespace sy::emulation {
namespace {

using Guard = std::lock_guard<std::recursive_mutex>;

std::vector<CUstream_st*>& streams() {
    // The default stream comes first. For as long as the process: programs do not destroy that.
    static auto& all = *new std::vector<CUstream_st*>{new CUstream_st};
    return all;
}

CUstream_st& default_stream() {
    return *streams().front();
}

/// Tries the oldest work of a stream. Returns whether it was finished.
bool advance(CUstream_st& stream) {
    Operation& operation = stream.queue.front();
    // Still as the host: the clock writes to the host's stack, and the thread sanitizer sees it.
    stream.advanced_at = std::chrono::steady_clock::now();
    void* host = sanitizer::current_identity();
    sanitizer::become(stream.identity);
    sanitizer::acquire(&stream.submit_order);
    bool is_finished = sticky_error() != cudaSuccess;  // after a fault nothing runs any more
    if (!is_finished) {
        std::optional<OpenDevice> open;
        if (operation.opens == Opens::memory) open.emplace();
        try {
            is_finished = operation.poll();
        } catch (const KernelFault& caught) {
            report(caught.text);
            break_device(cudaErrorLaunchFailure);
            is_finished = true;
            // The threads of the kernel stand in it for ever, also when the program ends.
            static auto& abandoned = *new std::vector<std::function<bool()>*>;
            abandoned.push_back(new std::function<bool()>(std::move(operation.poll)));
        }
    }
    if (is_finished) {
        ++counters().num_finished;
        operation.poll = nullptr;  // what it holds goes under the stream's identity
    }
    sanitizer::release(&stream.end_order);
    sanitizer::become(host);
    if (is_finished) stream.queue.pop_front();
    return is_finished;
}

/// Tries the streams that have work, in the order of the options, until one finished something.
bool advance_any() {
    std::vector<CUstream_st*> busy;
    for (CUstream_st* each : streams()) {
        if (!each->queue.empty()) busy.push_back(each);
    }
    std::ranges::sort(busy, {}, [](const CUstream_st* each) { return each->queue.front().age; });
    if (options().order == Order::reverse) std::ranges::reverse(busy);
    if (options().order == Order::random) {
        for (std::size_t i = busy.size(); i > 1; --i) std::swap(busy[i - 1], busy[draw(i)]);
    }
    return std::ranges::any_of(busy, [](CUstream_st* each) { return advance(*each); });
}

/// One step towards an end of `wanted`. Returns whether something was finished.
bool advance_towards(CUstream_st& wanted) {
    if (options().order == Order::random) return advance_any();
    return advance(wanted) || advance_any();
}

/// Works until `is_done`; gives the lock away between two steps.
template <typename Step, typename Done>
cudaError_t work_until(const char* what, Step step, Done is_done) {
    using Clock = std::chrono::steady_clock;
    auto last_progress = Clock::now();
    for (;;) {
        {
            const Guard guard(runtime_mutex());
            if (is_done()) return sticky_error();
            if (step()) {
                last_progress = Clock::now();
                continue;
            }
            if (Clock::now() - last_progress > std::chrono::seconds(options().deadline_s)) {
                report(std::string(what) + " waited " + std::to_string(options().deadline_s) +
                       " s for work that does not end (SY_EMULATION_DEADLINE_S)");
                break_device(cudaErrorLaunchTimeout);
                continue;
            }
        }
        // Longer than it takes whoever waits for the lock to get it.
        std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
}

cudaError_t run_until_empty(CUstream_st& stream) {
    return work_until(
        "a stream", [&] { return advance_towards(stream); }, [&] { return stream.queue.empty(); });
}

/// The default stream waits for the streams that wait for it, and does its work at once.
cudaError_t enqueue_on_default_stream(Operation operation) {
    ++counters().num_default_stream_calls;
    if (const cudaError_t error = check_implicit(); error != cudaSuccess) return error;
    for (CUstream_st* each : std::vector(streams())) {
        if (each->waits_for_default_stream && each != &default_stream()) finish(*each);
    }
    default_stream().queue.push_back(std::move(operation));
    return finish(default_stream());
}

/// Whether the host may ask about a stream, or wait for it, with regard to captures.
cudaError_t check_stream(const CUstream_st& stream, const char* call) {
    if (const std::shared_ptr<Capture> capture = capture_of(&stream)) return refuse_captured(*capture, call);
    return check_unsafe(call);
}

cudaError_t check_event(const CUevent_st& event, const char* call) {
    if (event.capture == nullptr) return check_unsafe(call);
    if (!event.capture->is_over) return refuse_captured(*event.capture, call, cudaErrorCapturedEvent);
    report(std::string(call) + " of an event that was recorded last in a capture");
    return remember(cudaErrorCapturedEvent);
}

}  // namespace

CUstream_st* find_stream(cudaStream_t handle) {
    if (handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread)
        return &default_stream();
    if (std::ranges::find(streams(), handle) != streams().end()) return handle;
    report("a stream that was destroyed, or never created, is used");
    return nullptr;
}

cudaError_t enqueue(cudaStream_t handle, const char* name, std::function<bool()> poll, Opens opens,
                    std::function<std::string()> find_problem) {
    static std::uint64_t num_enqueued = 0;
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    CUstream_st* stream = find_stream(handle);
    if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (const std::shared_ptr<Capture> capture = capture_of(stream))
        return capture_node(*capture, *stream, {name, std::move(poll), opens, {}, std::move(find_problem)});
    sanitizer::release(&stream->submit_order);
    Operation operation{name, std::move(poll), ++num_enqueued, opens};
    if (stream == &default_stream()) return enqueue_on_default_stream(std::move(operation));
    stream->queue.push_back(std::move(operation));
    if (!options().lazy) return run_until_empty(*stream);
    if (options().order == Order::random) {
        for (std::uint64_t steps = draw(3); steps > 0; --steps) advance_any();
    }
    return cudaSuccess;
}

cudaError_t enqueue(cudaStream_t stream, const char* name, std::function<bool()> poll) {
    return enqueue(stream, name, std::move(poll), Opens::memory);
}

cudaError_t finish(CUstream_st& stream) {
    const cudaError_t error = run_until_empty(stream);
    sanitizer::acquire(&stream.end_order);  // only a wait orders the host after the stream
    return error;
}

cudaError_t finish_all() {
    // Other devices may have work that waits for what this thread has still to do.
    const int device = current_device();
    const cudaError_t error = work_until("the device", advance_any, [device] {
        return std::ranges::all_of(streams(), [device](const CUstream_st* each) {
            return each->device != device || each->queue.empty();
        });
    });
    const Guard guard(runtime_mutex());
    for (CUstream_st* each : streams()) {
        if (each->device == device) sanitizer::acquire(&each->end_order);
    }
    return error;
}

void drop_all_work() {
    for (CUstream_st* each : streams()) each->queue.clear();
}

}  // namespace sy::emulation

using namespace sy::emulation;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    *stream = new CUstream_st;
    (*stream)->waits_for_default_stream = flags != cudaStreamNonBlocking;
    streams().push_back(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
    return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
    CUstream_st* stream = nullptr;
    {
        const Guard guard(runtime_mutex());
        stream = find_stream(handle);
        if (stream == nullptr || stream == &default_stream()) return remember(cudaErrorInvalidResourceHandle);
        if (const std::shared_ptr<Capture> capture = capture_of(stream))
            static_cast<void>(refuse_captured(*capture, "cudaStreamDestroy"));
    }
    finish(*stream);  // without the lock: work may need what another thread has still to queue
    const Guard guard(runtime_mutex());
    std::erase(streams(), stream);
    delete stream;
    return sticky_error();
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    std::unique_lock lock(runtime_mutex());
    CUstream_st* stream = find_stream(handle);
    if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (const cudaError_t error = check_stream(*stream, "cudaStreamSynchronize"); error != cudaSuccess)
        return error;
    ++counters().num_host_waits;
    lock.unlock();
    return finish(*stream);
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    const Guard guard(runtime_mutex());
    CUstream_st* stream = find_stream(handle);
    if (stream == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (const cudaError_t error = check_stream(*stream, "cudaStreamQuery"); error != cudaSuccess)
        return error;
    if (!stream->queue.empty()) advance_towards(*stream);
    if (stream->queue.empty()) {
        sanitizer::acquire(&stream->end_order);
        return sticky_error();
    }
    ++counters().num_unfinished_queries;
    return cudaErrorNotReady;
}

cudaError_t cudaDeviceSynchronize() {
    {
        const Guard guard(runtime_mutex());
        if (const cudaError_t error = check_unsafe("cudaDeviceSynchronize"); error != cudaSuccess)
            return error;
        ++counters().num_host_waits;
    }
    return finish_all();
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* argument) {
    return enqueue(stream, "host function", [function, argument] {
        function(argument);
        return true;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    *event = new CUevent_st;
    (*event)->has_time = (flags & cudaEventDisableTiming) == 0;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    delete event;  // waits and records that are queued hold the record itself
    return sticky_error();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
    const Guard guard(runtime_mutex());
    const CUstream_st* const known = find_stream(stream);
    if (known == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (known != &default_stream() && known->device != event->device) {
        report("an event of device " + std::to_string(event->device) + " is recorded on a stream of device " +
               std::to_string(known->device));
        return remember(cudaErrorInvalidResourceHandle);
    }
    if (const std::shared_ptr<Capture> capture = known == &default_stream() ? nullptr : capture_of(known)) {
        if (capture->is_invalid) return remember(cudaErrorStreamCaptureInvalidated);
        record_captured(*capture, *stream, *event);
        return cudaSuccess;
    }
    event->capture = nullptr;
    const auto record = std::make_shared<Record>();
    event->last = record;
    const auto take_note = [record, known] {
        record->is_done = true;
        record->done_at = known->advanced_at;
        sanitizer::release(&record->order);
        return true;
    };
    return enqueue(stream, "event record", take_note, Opens::nothing);
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
    return cudaEventRecord(event, stream);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
    const Guard guard(runtime_mutex());
    CUstream_st* const waiting = find_stream(stream);
    if (waiting == nullptr) return remember(cudaErrorInvalidResourceHandle);
    if (event->capture == nullptr && event->last == nullptr)
        return cudaSuccess;  // never recorded: nothing to wait for
    if (event->capture != nullptr || capture_of(waiting) != nullptr) return wait_captured(*waiting, *event);
    const auto look = [record = event->last] {
        if (record->is_done) sanitizer::acquire(&record->order);
        return record->is_done;
    };
    return enqueue(stream, "event wait", look, Opens::nothing);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
    {
        const Guard guard(runtime_mutex());
        if (const cudaError_t error = check_event(*event, "cudaEventSynchronize"); error != cudaSuccess)
            return error;
        ++counters().num_host_waits;
    }
    const auto record = event->last;
    if (record == nullptr) return sticky_error();
    const cudaError_t error =
        work_until("an event", advance_any, [&] { return record->is_done || sticky_error() != cudaSuccess; });
    sanitizer::acquire(&record->order);
    return error;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    if (event == nullptr) return remember(cudaErrorInvalidResourceHandle);
    const Guard guard(runtime_mutex());
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (const cudaError_t error = check_event(*event, "cudaEventQuery"); error != cudaSuccess) return error;
    if (event->last == nullptr) return cudaSuccess;
    if (!event->last->is_done) advance_any();
    if (sticky_error() != cudaSuccess) return sticky_error();
    if (!event->last->is_done) {
        ++counters().num_unfinished_queries;
        return cudaErrorNotReady;
    }
    sanitizer::acquire(&event->last->order);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
    const Guard guard(runtime_mutex());
    if (start == nullptr || end == nullptr || !start->has_time || !end->has_time || !start->last ||
        !end->last) {
        return remember(cudaErrorInvalidResourceHandle);
    }
    if (!start->last->is_done || !end->last->is_done) return cudaErrorNotReady;
    *milliseconds =
        std::chrono::duration<float, std::milli>(end->last->done_at - start->last->done_at).count();
    return cudaSuccess;
}

}  // extern "C"
