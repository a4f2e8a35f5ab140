#pragma once

#include <cstddef>
#include <map>
#include <optional>

/// Device memory of one range of addresses: filled with 0xff, given out with red zones between, never given out twice,
/// and closed to the host except while work of a stream runs.
namespace sy::emulation {

class DeviceMemory {
  public:
    DeviceMemory();
    DeviceMemory(const DeviceMemory&) = delete;
    DeviceMemory& operator=(const DeviceMemory&) = delete;
    ~DeviceMemory() = delete;  // lives as long as the process, as a device does

    /// Null where options().memory_bytes would be exceeded.
    void* allocate(std::size_t bytes);
    /// The same for whole pages of a file that others may map too. The red zone is this mapping's alone.
    /// @param is_own  whether the memory is this device's, and counts as used
    void* map(int file, std::size_t bytes, bool is_own);
    /// Whether it was an allocation. Reports a red zone that was written to.
    bool free(void* first);
    void open();
    void close();

    bool is_live(const void* first, std::size_t bytes) const;
    bool holds_address(const void* at) const;
    std::size_t used_bytes() const { return used_bytes_; }
    /// The allocation whose bytes and red zone hold the address, freed or not, for a message.
    std::optional<std::pair<const char*, std::size_t>> nearest(const void* at) const;

  private:
    struct Allocation {
        std::size_t bytes = 0;
        std::size_t span_bytes = 0;  ///< with the red zone, whole pages
        std::size_t used_bytes = 0;  ///< of this device
    };
    char* room_for(const Allocation& allocation) const;
    void give(char* first, const Allocation& allocation);
    void protect(int rights) const;

    char* base_ = nullptr;
    std::size_t given_bytes_ = 0;  ///< of the range, live or freed
    std::size_t used_bytes_ = 0;   ///< of live allocations
    std::map<const char*, Allocation> live_;
    int num_open_ = 0;
};

DeviceMemory& device_memory();

/// While one exists, device memory can be read and written.
class OpenDevice {
  public:
    OpenDevice() { device_memory().open(); }
    OpenDevice(const OpenDevice&) = delete;
    OpenDevice& operator=(const OpenDevice&) = delete;
    ~OpenDevice() { device_memory().close(); }
};

}  // namespace sy::emulation
