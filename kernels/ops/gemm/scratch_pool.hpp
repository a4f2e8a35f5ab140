#pragma once

#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "kernels/core/types.hpp"

namespace sy::ops::detail {

/// Aligned blocks of one size, lent to threads for the length of a product and then kept.
class ScratchPool {
  public:
    explicit ScratchPool(index_t bytes) : bytes_(bytes) {}

    class Lease {
      public:
        explicit Lease(ScratchPool& pool) : pool_(pool), block_(pool.take()) {}
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        ~Lease() { pool_.give_back(std::move(block_)); }
        void* get() const { return block_.get(); }

      private:
        ScratchPool& pool_;
        std::unique_ptr<std::byte[], void (*)(std::byte*)> block_;
    };

  private:
    using Block = std::unique_ptr<std::byte[], void (*)(std::byte*)>;
    static void free_block(std::byte* block) { ::operator delete[](block, std::align_val_t{64}); }

    Block take() {
        const std::lock_guard lock(mutex_);
        // Room for every block, so that a return cannot throw.
        free_.reserve(++num_taken_ + free_.size());
        if (free_.empty()) {
            auto* fresh = static_cast<std::byte*>(
                ::operator new[](static_cast<std::size_t>(bytes_), std::align_val_t{64}));
            return Block(fresh, free_block);
        }
        Block block = std::move(free_.back());
        free_.pop_back();
        return block;
    }
    void give_back(Block block) {
        const std::lock_guard lock(mutex_);
        --num_taken_;
        free_.push_back(std::move(block));
    }

    index_t bytes_;
    std::mutex mutex_;
    std::size_t num_taken_ = 0;
    std::vector<Block> free_;
};

}  // namespace sy::ops::detail
