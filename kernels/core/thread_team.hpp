#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy {

/// The threads of one rank: the calling thread and num_threads - 1 workers. Workers spin for a bounded time
/// between tasks and then sleep, so that a rank that waits does not take a core from its neighbours.
///
/// It runs one task at a time, started by one thread. An exception thrown inside is rethrown to the caller (of several,
/// that of the lowest thread).
class ThreadTeam {
  public:
    explicit ThreadTeam(int num_threads, std::chrono::microseconds spin = std::chrono::microseconds(50));
    ThreadTeam(const ThreadTeam&) = delete;
    ThreadTeam& operator=(const ThreadTeam&) = delete;
    ~ThreadTeam();

    int size() const { return num_threads_; }

    /// Calls body(thread_idx) once on every thread, 0 being the caller; returns when all are done.
    void run(const std::function<void(int)>& body);

    /// Splits [0, size) into contiguous parts, one a thread, each a multiple of `grain` but the last.
    /// body(begin, end). Which thread gets which part depends on the number of threads; results must not depend on it.
    void for_ranges(index_t size, index_t grain, const std::function<void(index_t, index_t)>& body);

    /// Between tasks, the calling thread calls `poll` when the last call is `interval` ago: so messages move on while a rank
    /// computes. It must neither block nor start tasks; what it throws ends the tasks as what a task throws.
    void set_poll(std::function<void()> poll, std::chrono::microseconds interval);

    /// Calls body(task_idx, thread_idx) for every task, which idle threads take one by one.
    void for_tasks(index_t num_tasks, const std::function<void(index_t, int)>& body);

  private:
    void work(int thread_idx);
    void execute(int thread_idx);
    void poll_if_due();

    const int num_threads_;
    const std::chrono::microseconds spin_;
    const std::function<void(int)>* body_ = nullptr;
    std::function<void()> poll_;  ///< none: nothing is called
    std::chrono::microseconds poll_interval_{0};
    std::chrono::steady_clock::time_point last_poll_;
    std::atomic<std::uint64_t> generation_{0};
    std::atomic<int> num_running_{0};
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::condition_variable wake_workers_;
    std::condition_variable wake_caller_;
    std::vector<std::exception_ptr> failures_;
    std::vector<std::thread> workers_;
};

}  // namespace sy
