#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

namespace sy::runtime {

/// Jobs done by several threads, whose results come in the order in which the jobs were given.
template <class Result>
class OrderedWork {
  public:
    explicit OrderedWork(int num_threads) {
        for (int i = 0; i < num_threads; ++i)
            threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
    }

    void give(std::function<Result()> job) {
        std::packaged_task<Result()> task(std::move(job));
        results_.push_back(task.get_future());
        {
            const std::lock_guard lock(mutex_);
            waiting_.push_back(std::move(task));
        }
        changed_.notify_one();
    }
    bool empty() const { return results_.empty(); }
    /// The result of the oldest job, for which it waits. @throws what the job threw @pre not empty()
    Result take() {
        std::future<Result> result = std::move(results_.front());
        results_.pop_front();
        return result.get();
    }

  private:
    void work(const std::stop_token& stop) {
        for (;;) {
            std::packaged_task<Result()> task;
            {
                std::unique_lock lock(mutex_);
                if (!changed_.wait(lock, stop, [this] { return !waiting_.empty(); })) return;
                // What nobody will take is not begun.
                if (stop.stop_requested()) return;
                task = std::move(waiting_.front());
                waiting_.pop_front();
            }
            task();
        }
    }

    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<std::packaged_task<Result()>> waiting_;
    std::deque<std::future<Result>> results_;  ///< of the calling thread alone
    std::vector<std::jthread> threads_;        ///< they end before what they use
};

}  // namespace sy::runtime
