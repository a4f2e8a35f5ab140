#include "kernels/core/thread_team.hpp"

#include <algorithm>
#include <utility>

namespace sy {
namespace {

void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
}

/// Polls `ready` for at most `limit`. @return whether it came true
template <class Predicate>
bool spin_until(const Predicate& ready, std::chrono::microseconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (true) {
        for (int poll = 0; poll < 64; ++poll) {
            if (ready()) return true;
            relax();
        }
        if (std::chrono::steady_clock::now() >= end) return ready();
    }
}

}  // namespace

ThreadTeam::ThreadTeam(int num_threads, std::chrono::microseconds spin)
    : num_threads_(num_threads), spin_(spin), failures_(static_cast<std::size_t>(std::max(num_threads, 1))) {
    SY_REQUIRE(num_threads >= 1, "thread team: ", num_threads, " threads requested");
    for (int thread_idx = 1; thread_idx < num_threads; ++thread_idx) {
        workers_.emplace_back([this, thread_idx] { work(thread_idx); });
    }
}

ThreadTeam::~ThreadTeam() {
    {
        const std::lock_guard lock(mutex_);
        stopping_.store(true);
        generation_.fetch_add(1);
    }
    wake_workers_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::run(const std::function<void(int)>& body) {
    if (num_threads_ == 1) {
        body(0);
        return;
    }
    body_ = &body;
    num_running_.store(num_threads_ - 1);
    {
        // The lock orders the new generation before a worker's decision to sleep.
        const std::lock_guard lock(mutex_);
        generation_.fetch_add(1);
    }
    wake_workers_.notify_all();
    execute(0);
    const auto all_done = [this] { return num_running_.load() == 0; };
    if (!spin_until(all_done, spin_)) {
        std::unique_lock lock(mutex_);
        wake_caller_.wait(lock, all_done);
    }
    for (std::exception_ptr& failure : failures_) {
        if (failure) {
            const std::exception_ptr first = failure;
            std::fill(failures_.begin(), failures_.end(), nullptr);
            std::rethrow_exception(first);
        }
    }
}

void ThreadTeam::execute(int thread_idx) {
    try {
        (*body_)(thread_idx);
    } catch (...) {
        failures_[static_cast<std::size_t>(thread_idx)] = std::current_exception();
    }
}

void ThreadTeam::work(int thread_idx) {
    std::uint64_t seen = 0;
    while (true) {
        const auto has_task = [&] { return generation_.load() != seen; };
        if (!spin_until(has_task, spin_)) {
            std::unique_lock lock(mutex_);
            wake_workers_.wait(lock, has_task);
        }
        ++seen;
        if (stopping_.load()) return;
        execute(thread_idx);
        if (num_running_.fetch_sub(1) == 1) {
            const std::lock_guard lock(mutex_);
            wake_caller_.notify_one();
        }
    }
}

void ThreadTeam::for_ranges(index_t size, index_t grain, const std::function<void(index_t, index_t)>& body) {
    if (size <= 0) return;
    const index_t num_blocks = ceil_div(size, std::max<index_t>(grain, 1));
    if (num_threads_ == 1 || num_blocks == 1) {
        body(0, size);
        return;
    }
    run([&](int thread_idx) {
        const Range blocks = part_of(num_blocks, num_threads_, thread_idx);
        const index_t end = std::min(blocks.end * grain, size);
        if (blocks.size() > 0) body(blocks.begin * grain, end);
    });
}

void ThreadTeam::for_tasks(index_t num_tasks, const std::function<void(index_t, int)>& body) {
    if (num_threads_ == 1 || num_tasks <= 1) {
        for (index_t task_idx = 0; task_idx < num_tasks; ++task_idx) {
            body(task_idx, 0);
            poll_if_due();
        }
        return;
    }
    std::atomic<index_t> next{0};
    run([&](int thread_idx) {
        for (index_t task_idx = next.fetch_add(1); task_idx < num_tasks; task_idx = next.fetch_add(1)) {
            body(task_idx, thread_idx);
            if (thread_idx == 0) poll_if_due();
        }
    });
}

void ThreadTeam::set_poll(std::function<void()> poll, std::chrono::microseconds interval) {
    poll_ = std::move(poll);
    poll_interval_ = interval;
}

void ThreadTeam::poll_if_due() {
    if (!poll_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_poll_ < poll_interval_) return;
    last_poll_ = now;
    poll_();
}

}  // namespace sy
