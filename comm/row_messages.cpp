#include "comm/row_messages.hpp"

#include <utility>

#include "kernels/core/host_view.hpp"

namespace sy::comm {

DeviceMessages* device_messages(Communicator& group) {
    return dynamic_cast<DeviceMessages*>(&group);
}

WindowedGroup* windowed_group(Communicator& group) {
    return dynamic_cast<WindowedGroup*>(&group);
}

void RowMessages::send(ConstTensorRef rows, int destination) {
    if (rows.num_elements() == 0) return;
    outgoing_.push_back({rows, destination});
    sent_bytes_ += rows.num_elements() * dtype_bytes(rows.dtype());
}

void RowMessages::receive(TensorRef rows, int source) {
    if (rows.num_elements() > 0) incoming_.push_back({rows, source});
}

void RowMessages::receive(std::span<std::byte> bytes, int source) {
    SY_REQUIRE(devices_ == nullptr, "messages of rows: memory of the host among memory of devices");
    if (!bytes.empty()) to_host_.push_back({bytes, source});
}

void RowMessages::start() {
    if (devices_ == nullptr) return start_through_host();
    if (!outgoing_.empty() || !incoming_.empty())
        transfer_ = devices_->start(outgoing_, incoming_, *context_);
}

void RowMessages::start_through_host() {
    // Rows that go to several ranks one after another are brought to the host once.
    std::vector<ConstTensorRef> rows;
    std::vector<std::size_t> place;
    for (const DeviceMessages::Outgoing& message : outgoing_) {
        if (rows.empty() || !(rows.back() == message.rows)) rows.push_back(message.rows);
        place.push_back(rows.size() - 1);
    }
    sent_.emplace(HostRead::messages, std::move(rows), *context_);
    // Receives are started first: what arrives has its place.
    for (const HostMessage& message : to_host_)
        requests_.push_back(group_->receive(message.bytes, message.source, tag_));
    for (const DeviceMessages::Incoming& message : incoming_) {
        HostRoom& room = rooms_.emplace_back(message.rows, *context_);
        requests_.push_back(group_->receive(host_bytes(room.writable()), message.source, tag_));
    }
    for (std::size_t i = 0; i < outgoing_.size(); ++i)
        requests_.push_back(group_->send(host_bytes((*sent_)[place[i]]), outgoing_[i].destination, tag_));
}

bool RowMessages::test() {
    bool all_done = transfer_ == nullptr || transfer_->test();
    for (const std::unique_ptr<Request>& request : requests_) all_done = request->test() && all_done;
    return all_done;
}

void RowMessages::finish() {
    for (HostRoom& room : std::exchange(rooms_, {})) room.finish(*context_);
    if (transfer_ == nullptr) return;
    context_->stream.wait(transfer_->arrival());
    devices_->watch(std::move(transfer_));
}

void RowMessages::wait(std::string_view doing) {
    wait_all(*group_, requests_, doing);
    finish();
}

}  // namespace sy::comm
