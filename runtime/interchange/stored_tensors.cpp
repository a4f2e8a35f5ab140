#include "runtime/interchange/stored_tensors.hpp"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/interchange/foreign_values.hpp"
#include "runtime/interchange/sha256.hpp"

namespace sy::runtime {
namespace {

constexpr index_t kAheadBytes = index_t{512} << 20;
constexpr unsigned kMostThreads = 16;

/// Memory that goes from tensor to tensor.
struct Buffers {
    std::vector<float> values;
    std::vector<std::byte> bytes;
};

/// A tensor that is ready, or why it is not.
struct Made {
    Buffers buffers;
    std::string sha256;
    std::exception_ptr error;
};

index_t bytes_of(const TensorToStore& what) {
    const index_t values = what.tensor->shape.num_elements();
    return values * index_t{sizeof(float)} + storage_bytes(what.storage, values);
}

Made make(const CheckpointReader& reader, const TensorToStore& what, Buffers buffers) {
    Made made{std::move(buffers), {}, nullptr};
    try {
        const index_t num_values = what.tensor->shape.num_elements();
        made.buffers.values.resize(static_cast<std::size_t>(num_values));
        made.buffers.bytes.resize(static_cast<std::size_t>(storage_bytes(what.storage, num_values)));
        read_foreign(*what.tensor, reader, made.buffers.values);
        try {
            encode(what.storage, made.buffers.values, made.buffers.bytes);
        } catch (const IoError& error) {
            throw IoError(concat("export: ", what.tensor->name, ": ", error.what()));
        }
        Sha256 digest;
        digest.add(made.buffers.bytes);
        made.sha256 = digest.finish();
    } catch (...) {
        made.error = std::current_exception();
    }
    return made;
}

/// What the threads share. Tensors are taken in order, so the one that is used next is always ready or being made.
class Queue {
  public:
    Queue(const CheckpointReader& reader, std::span<const TensorToStore> tensors)
        : reader_(reader), tensors_(tensors) {}

    /// Makes tensors until none is left or wanted.
    void work() {
        std::unique_lock lock(mutex_);
        while (true) {
            changed_.wait(lock, [this] { return stopped_ || next_ == tensors_.size() || has_room(); });
            if (stopped_ || next_ == tensors_.size()) return;
            const std::size_t idx = next_++;
            held_bytes_ += bytes_of(tensors_[idx]);
            Buffers buffers;
            if (!idle_.empty()) {
                buffers = std::move(idle_.back());
                idle_.pop_back();
            }
            lock.unlock();
            Made made = make(reader_, tensors_[idx], std::move(buffers));
            lock.lock();
            ready_.emplace(idx, std::move(made));
            changed_.notify_all();
        }
    }

    Made take(std::size_t idx) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return ready_.contains(idx); });
        return std::move(ready_.extract(idx).mapped());
    }

    void give_back(std::size_t idx, Buffers buffers) {
        const std::scoped_lock lock(mutex_);
        held_bytes_ -= bytes_of(tensors_[idx]);
        // Memory that few tensors need is not kept.
        if (idle_.size() < kMostThreads && bytes_of(tensors_[idx]) <= kAheadBytes / kMostThreads)
            idle_.push_back(std::move(buffers));
        changed_.notify_all();
    }

    void stop() {
        const std::scoped_lock lock(mutex_);
        stopped_ = true;
        changed_.notify_all();
    }

  private:
    bool has_room() const {
        return held_bytes_ == 0 || held_bytes_ + bytes_of(tensors_[next_]) <= kAheadBytes;
    }

    const CheckpointReader& reader_;
    std::span<const TensorToStore> tensors_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::size_t, Made> ready_;
    std::vector<Buffers> idle_;
    std::size_t next_ = 0;
    index_t held_bytes_ = 0;  ///< of tensors that are being made or are ready
    bool stopped_ = false;
};

/// Threads at work on a queue, which end with it however it ends.
class Workers {
  public:
    explicit Workers(Queue& queue) : queue_(queue) {
        const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
        for (unsigned i = 0; i < count; ++i) threads_.emplace_back([&queue] { queue.work(); });
    }
    ~Workers() {
        queue_.stop();
        for (std::thread& thread : threads_) thread.join();
    }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

  private:
    Queue& queue_;
    std::vector<std::thread> threads_;
};

}  // namespace

void for_each_stored(const CheckpointReader& reader, std::span<const TensorToStore> tensors,
                     const std::function<void(std::size_t, const StoredTensor&)>& use) {
    Queue queue(reader, tensors);
    const Workers workers(queue);
    for (std::size_t idx = 0; idx < tensors.size(); ++idx) {
        Made made = queue.take(idx);
        if (made.error) std::rethrow_exception(made.error);
        use(idx, {made.buffers.bytes, std::move(made.sha256)});
        queue.give_back(idx, std::move(made.buffers));
    }
}

}  // namespace sy::runtime
