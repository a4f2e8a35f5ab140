#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>

#include "kernels/core/types.hpp"

namespace sy::comm {

/// Memory that processes of a node share by a name, on 64-byte boundaries, all zero at first. Ranks that are threads of one
/// process get the same addresses. The memory lives until the last holder is gone; a name that is forgotten with unlink()
/// leaves nothing behind, however the processes end.
class SharedSegment {
  public:
    /// A name that no other segment has.
    static std::string new_name();
    /// @throws IoError with the room there is, when the system has no such memory
    static std::shared_ptr<SharedSegment> create(const std::string& name, index_t bytes);
    /// What another rank of the node has created.
    static std::shared_ptr<SharedSegment> open(const std::string& name, index_t bytes);

    /// Left on this node for segments.
    static index_t room_bytes();

    ~SharedSegment();
    SharedSegment(const SharedSegment&) = delete;
    SharedSegment& operator=(const SharedSegment&) = delete;

    std::byte* data() const { return data_; }
    /// Takes the pages of a part from the system, near the processor of the caller: a write cannot fail afterwards.
    /// @throws IoError with the room there is, when the system has no such memory
    void reserve(Range part);
    /// Nobody can open the segment by its name any more; its creator also says so in the end.
    void unlink();

  private:
    SharedSegment(std::string name, index_t bytes, int file, std::byte* data, bool has_name);
    static std::shared_ptr<SharedSegment> map(const std::string& name, index_t bytes, bool is_new);

    std::string name_;
    std::atomic<bool> has_name_;  ///< that this one gave it; members of one process share this object
    index_t bytes_;
    int file_;
    std::byte* data_;
};

}  // namespace sy::comm
