#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/core/arena.hpp"
#include "kernels/core/context.hpp"
#include "kernels/core/thread_team.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"

namespace sy {

/// The processor: the threads of one rank, its memory, and what multiplies on one thread. Its streams do at once what is
/// queued, so that nothing has to be waited for.
class CpuDevice : public Device {
  public:
    explicit CpuDevice(int num_threads, index_t slab_bytes = index_t{64} << 20);

    ThreadTeam& team() { return team_; }
    Arena& arena() { return arena_; }
    const Arena& arena() const { return arena_; }
    const ops::Gemm& gemm() const { return gemm_; }

    int num_threads() const override { return team_.size(); }
    Buffer allocate(index_t bytes, Memory memory = Memory::device) override;
    bool is_host_memory() const override { return true; }
    Stream& compute() override { return *compute_; }
    Stream& transfer() override { return *transfer_; }
    void copy(ConstTensorRef from, TensorRef to, Stream& stream) override;
    void upload(const HostRef& values, TensorRef to, Stream& stream) override;

  protected:
    /// A device whose memory, streams or table differ.
    struct Parts {
        std::string name;
        const ops::Bodies& bodies;
        index_t slab_bytes;
        std::function<std::byte*(index_t)> map_slab;
        std::unique_ptr<Stream> compute;  ///< null: one that does at once what is queued
        std::unique_ptr<Stream> transfer;
    };
    CpuDevice(int num_threads, Parts parts);

  private:
    ThreadTeam team_;
    Arena arena_;
    ops::Gemm gemm_;
    std::unique_ptr<Stream> compute_;
    std::unique_ptr<Stream> transfer_;
};

/// The device of a body of the CPU, and of what else works in memory of the host with its threads.
/// @throws LogicError on another device
inline CpuDevice& cpu(const Context& context) {
    SY_REQUIRE(context.device.kind() == DeviceKind::cpu, "device ", context.device.name(),
               ": it does not run bodies of the CPU");
    return static_cast<CpuDevice&>(context.device);
}

}  // namespace sy
