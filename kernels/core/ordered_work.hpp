#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy {

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

/// How far results are made ahead of their use.
struct AheadLimit {
    int num_threads = 0;  ///< 0: each result is made where it is used
    index_t bytes = 0;  ///< of results that are being made or wait for their use; a single one may have more
};

/// All processors, up to 16, and 512 MiB: for a command that has the machine to itself.
inline AheadLimit all_processors_ahead() {
    return {static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1U, 16U)), index_t{512} << 20};
}

/// Makes results in several threads, ahead of their use by the calling thread, which is in order.
/// @param bytes_of  of result i while it is made and until it was used
/// @param make      makes result i; in several threads at once
/// @param use       gets result i
/// @throws what `use` throws, or what `make` threw for the first result that it threw for
template <class Result, class BytesOf, class Make, class Use>
void make_ahead(std::size_t num_results, const AheadLimit& limit, const BytesOf& bytes_of, const Make& make,
                const Use& use) {
    if (limit.num_threads == 0) {
        for (std::size_t i = 0; i < num_results; ++i) use(i, make(i));
        return;
    }
    // Enough that no thread waits for the next result to be used; more would leave the caches.
    const auto most_ahead = 4 * static_cast<std::size_t>(limit.num_threads);
    OrderedWork<Result> work(limit.num_threads);
    std::size_t given = 0;
    index_t held_bytes = 0;
    for (std::size_t i = 0; i < num_results; ++i) {
        for (; given < num_results && given - i < most_ahead; ++given) {
            const index_t bytes = bytes_of(given);
            if (given > i && held_bytes + bytes > limit.bytes) break;
            held_bytes += bytes;
            work.give([&make, given] { return make(given); });
        }
        use(i, work.take());
        held_bytes -= bytes_of(i);
    }
}

}  // namespace sy
