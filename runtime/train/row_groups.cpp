#include "runtime/train/row_groups.hpp"

namespace sy::runtime {

RowGroups::RowGroups(comm::Communicator& world, comm::GridCommunicators& groups, Device& device)
    : world_(world), groups_(groups) {
    if (device.kind() != DeviceKind::cuda || world.size() == 1) return;
    nccl_ = comm::load_nccl(world);
    if (nccl_.library == nullptr) return;
    gpu_world_ = comm::connect_nccl(world, *nccl_.library, device);
    gpu_groups_.expert_group = comm::connect_nccl(*groups.expert_group, *nccl_.library, device);
    gpu_groups_.replica_group = comm::connect_nccl(*groups.replica_group, *nccl_.library, device);
}

double RowGroups::waited_seconds() const {
    return gpu_world_ ? gpu_world_->waited_seconds() + gpu_groups_.waited_seconds() : 0.0;
}

void RowGroups::poll() {
    if (gpu_world_) gpu_world_->poll_all("wait for its GPU");
}

void RowGroups::close() {
    if (!gpu_world_) return;
    gpu_groups_.close();
    gpu_world_->close();
}

}  // namespace sy::runtime
